(** * Lists with conditions, and the clock of the serving loop

    Small facts that the timetable of the loop needs. *)

From Coq Require Import List Arith Lia Sorted.
From Ringproof Require Import Semantics TimedLists Serving.
Import ListNotations.

(** ** Lists with conditions *)
Lemma in_keep {A} (l : list (bool * A)) x : In x (keep l) <-> In (true, x) l.
Proof.
  unfold keep. rewrite in_flat_map. split.
  - intros ([[|] y] & I & J); cbn in J; [destruct J as [<- | []]; auto | easy].
  - intros I. exists (true, x). cbn. auto.
Qed.

Lemma keep_app {A} (l l' : list (bool * A)) : keep (l ++ l') = keep l ++ keep l'.
Proof. apply flat_map_app. Qed.

Lemma keep_flat_map {A C} (f : C -> list (bool * A)) l : keep (flat_map f l) = flat_map (fun x => keep (f x)) l.
Proof.
  induction l as [| x l IH]; auto. change (flat_map f (x :: l)) with (f x ++ flat_map f l).
  rewrite keep_app, IH. reflexivity.
Qed.

Lemma keep_increasing (l : list (bool * (nat * op))) : increasing (map snd l) -> increasing (keep l).
Proof.
  induction l as [| [c x] l IH]; intros I; [constructor |].
  unfold increasing in I. cbn in I. apply StronglySorted_inv in I. destruct I as [I F].
  specialize (IH I). destruct c; auto. cbn. constructor; auto.
  apply Forall_forall. intros k K. apply in_map_iff in K. destruct K as (y & <- & K).
  apply in_keep in K. rewrite Forall_forall in F. apply F, in_map_iff. exists y. split; auto.
  apply in_map_iff. now exists (true, y).
Qed.

Lemma map_keep {A C} (f : A -> C) l : map f (keep l) = keep (map (fun g => (fst g, f (snd g))) l).
Proof. induction l as [| [[|] x] l IH]; cbn; auto. unfold keep in *. congruence. Qed.

(** ** The clock
    A round is [B] units long.  At its beginning the ranks take their turns,
    from the last to the first; 4P units later come the outputs. *)
Section Clock.
Variables (P H D : nat).

Definition B := 4 * P + H + D + 12.
Definition round t := t * B.
Definition begins r n := round (n + r) + 4 * (P - r).

Lemma round_S t : round (S t) = round t + B.
Proof. unfold round. cbn. lia. Qed.

Lemma round_le t u : t <= u -> round t <= round u.
Proof. intros T. unfold round. now apply Nat.mul_le_mono_r. Qed.

Lemma begins_S r n : begins r (S n) = begins r n + B.
Proof. unfold begins. cbn [Nat.add]. rewrite round_S. lia. Qed.

Lemma begins_lt r i j : i < j -> begins r i + B <= begins r j.
Proof.
  intros L. rewrite <- begins_S. unfold begins. assert (X := round_le (S i + r) (j + r)). lia.
Qed.

Lemma begins_inv r i j x y : x <= 3 -> y <= 3 -> begins r i + x < begins r j + y -> i < j \/ i = j.
Proof.
  intros X Y L. destruct (Nat.lt_trichotomy i j) as [C | [C | C]]; auto.
  apply (begins_lt r) in C. unfold B in C. lia.
Qed.

Lemma begins_next r n : S r < P -> begins (S r) n = begins r n + B - 4.
Proof. intros C. unfold begins. rewrite Nat.add_succ_r, round_S. lia. Qed.

End Clock.

(** Computation leaves the clock alone. *)
Arguments B : simpl never.
Arguments round : simpl never.
Arguments begins : simpl never.
