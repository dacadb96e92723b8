(** * Which ring orderings deadlock: exactly the two uniform ones *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Slack Circuit TimedLists Timetable Ring Walls.
Import ListNotations.

(** An ordering that is not uniform has a potential. *)
Theorem nonuniform_free o K : 2 <= length o -> ~ uniform o -> deadlock_free (ring o K) rendezvous.
Proof. intros P2 N. eapply ring_in_order_free, potential_in_order; auto. Qed.

Lemma letter_of_repeat l n r : r < n -> letter_of (repeat l n) r = l.
Proof.
  intros H. unfold letter_of. rewrite nth_indep with (d' := l); [apply nth_repeat |].
  now rewrite repeat_length.
Qed.

Lemma first_operation o K r : 1 <= K -> r < length o -> nth_error (code (ring o K) r) 0 =
  Some match letter_of o r with SendFirst => Send (next (length o) r) 0 | RecvFirst => Recv (prev (length o) r) 0 end.
Proof.
  intros HK H. apply Nat.ltb_lt in H. unfold ring. cbn [code]. rewrite H. destruct K; [lia |]. cbn.
  now destruct (letter_of o r).
Qed.

(** The ring in which every rank receives first deadlocks under every library. *)
Theorem receive_first_deadlocks P K L : 2 <= P -> 1 <= K -> deadlocks (ring (repeat RecvFirst P) K) L.
Proof.
  intros HP HK. apply (receive_circuit_deadlocks _ _ (fun r => r < P) 0); cbn; try lia.
  - now rewrite repeat_length.
  - intros r Hr. exists (prev P r), 0. split; [now apply prev_range |].
    assert (E := first_operation (repeat RecvFirst P) K r HK). rewrite repeat_length in E.
    specialize (E Hr). rewrite letter_of_repeat in E by auto. exact E.
Qed.

(** The ring in which every rank sends first deadlocks under rendezvous. *)
Theorem send_first_deadlocks P K : 2 <= P -> 1 <= K -> deadlocks (ring (repeat SendFirst P) K) rendezvous.
Proof.
  intros HP HK. exists (start (ring (repeat SendFirst P) K)). split; [exists 0; constructor |].
  assert (H : forall r x, head (ring (repeat SendFirst P) K) (start (ring (repeat SendFirst P) K)) r = Some x ->
              exists d, x = Send d 0).
  { intros r x E. assert (R := E). apply head_some in R. destruct R as [R _]. rewrite length_start in R. cbn in R.
    rewrite head_start, first_operation in E by auto. rewrite repeat_length in R.
    rewrite letter_of_repeat in E by auto. injection E as <-. eauto. }
  split.
  - intros s' G. remember (start _) as s eqn:S. destruct G as [s r G | s r d (t & _ & B & _)]; subst s.
    + unfold ready in G. destruct (head _ _ r) eqn:E; [| easy].
      apply H in E. destruct E as [d ->]. destruct G as [G _]. now apply G.
    + apply H in B. destruct B as [e B]. easy.
  - intros F. specialize (F 0). rewrite head_start, first_operation in F; auto;
      cbn; rewrite ?repeat_length; try lia. easy.
Qed.

(** *** The characterisation *)
Theorem ring_characterisation o K : 2 <= length o -> 1 <= K ->
  (deadlocks (ring o K) rendezvous <-> uniform o).
Proof.
  intros P2 HK. split.
  - intros H. destruct (check (ring o K) rendezvous) eqn:C.
    + exfalso. apply deadlocks_iff_not_free in H. now apply H, check_correct.
    + destruct (Nat.eq_dec (how_many RecvFirst o) 0) as [E | E].
      { exists SendFirst. apply only_letter. intros [|] D; [easy | auto]. }
      destruct (Nat.eq_dec (how_many SendFirst o) 0) as [F | F].
      { exists RecvFirst. apply only_letter. intros [|] D; [auto | easy]. }
      exfalso. apply deadlocks_iff_not_free in H. apply H, nonuniform_free; auto.
      intros [[|] U]; rewrite U in *; [apply E | apply F]; clear;
        induction (length o); cbn; auto.
  - intros [[|] ->]; [apply send_first_deadlocks | apply receive_first_deadlocks]; auto.
Qed.

(** *** Parity is not uniform *)
Lemma length_parity P : length (parity P) = P.
Proof. unfold parity. now rewrite map_length, seq_length. Qed.

Lemma letter_of_parity P r : r < P -> letter_of (parity P) r = if Nat.even r then SendFirst else RecvFirst.
Proof.
  intros H. unfold letter_of, parity.
  set (f := fun r => if Nat.even r then SendFirst else RecvFirst).
  rewrite (nth_indep _ SendFirst (f 0)) by now rewrite map_length, seq_length.
  rewrite (map_nth f), seq_nth; auto.
Qed.

Lemma parity_not_uniform P : 2 <= P -> ~ uniform (parity P).
Proof.
  intros H [l U]. rewrite length_parity in U.
  assert (A := letter_of_parity P 0). assert (B := letter_of_parity P 1).
  rewrite U, letter_of_repeat in A, B by lia. cbn in A, B. specialize (A ltac:(lia)). specialize (B ltac:(lia)).
    congruence.
Qed.

(** Parity never deadlocks: every ring size, odd ones too, every number of
    rounds, every library. *)
Theorem parity_deadlock_free P K L : 2 <= P -> deadlock_free (ring (parity P) K) L.
Proof.
  intros H. apply slack_rendezvous, nonuniform_free; [now rewrite length_parity | now apply parity_not_uniform].
Qed.

(** ** Exactly two of the 2^P orderings deadlock *)
Fixpoint all_orderings P : list ordering :=
  match P with
  | 0 => [[]]
  | S P => map (cons SendFirst) (all_orderings P) ++ map (cons RecvFirst) (all_orderings P)
  end.

Lemma all_orderings_length P : length (all_orderings P) = 2 ^ P.
Proof. induction P as [| P IH]; simpl; auto. rewrite app_length, !map_length, IH. lia. Qed.

Lemma all_orderings_complete P o : In o (all_orderings P) <-> length o = P.
Proof.
  revert o; induction P as [| P IH]; intros o; cbn.
  - destruct o; cbn; split; try easy; intuition congruence.
  - rewrite in_app_iff, !in_map_iff. split.
    + intros [(x & <- & I) | (x & <- & I)]; cbn; f_equal; now apply IH.
    + destruct o as [| [|] o]; intros E; [easy | left | right]; exists o; split; auto; apply IH; auto.
Qed.

Lemma NoDup_app {A} (l l' : list A) :
  NoDup l -> NoDup l' -> (forall x, In x l -> ~ In x l') -> NoDup (l ++ l').
Proof.
  induction 1 as [| x l X N IH]; cbn; auto. intros N' D. constructor; auto.
  rewrite in_app_iff. intros [I | I]; [auto | exact (D x (or_introl eq_refl) I)].
Qed.

Lemma all_orderings_NoDup P : NoDup (all_orderings P).
Proof.
  induction P as [| P IH]; cbn; [repeat constructor; auto |].
  assert (D : forall (a : letter), NoDup (map (cons a) (all_orderings P))).
  { intros a. apply FinFun.Injective_map_NoDup; auto. intros x y. congruence. }
  apply NoDup_app; auto. intros x I J. apply in_map_iff in I, J.
  destruct I as (y & <- & _), J as (z & E & _). easy.
Qed.

Theorem all_orderings_listed P :
  exists all : list ordering, NoDup all /\ length all = 2 ^ P /\ forall o, In o all <-> length o = P.
Proof.
  exists (all_orderings P). split; [apply all_orderings_NoDup |].
  split; [apply all_orderings_length | apply all_orderings_complete].
Qed.

Theorem deadlocking_orderings_listed P K : 2 <= P -> 1 <= K ->
  exists bad : list ordering, NoDup bad /\ length bad = 2 /\
    forall o, In o bad <-> length o = P /\ deadlocks (ring o K) rendezvous.
Proof.
  intros HP HK. exists [repeat SendFirst P; repeat RecvFirst P]. split; [| split; [reflexivity |]].
  - repeat constructor; cbn; auto. intros [E | []]. destruct P; [lia | easy].
  - intros o. split.
    + intros [<- | [<- | []]]; rewrite repeat_length; split; auto;
        apply ring_characterisation; rewrite ?repeat_length; auto; eexists; now rewrite repeat_length.
    + intros [E D]. apply ring_characterisation in D; [| lia | auto].
      destruct D as [[|] D]; rewrite E in D; rewrite D; cbn; auto.
Qed.

(** ** With room for one message or more only receive-first deadlocks *)
Definition stores_one (L : library) := forall r d t, ~ direct L r d t.

Lemma send_first_stored P K L : 2 <= P -> stores_one L -> deadlock_free (ring (repeat SendFirst P) K) L.
Proof.
  intros HP S. set (one := {| room := fun _ _ _ => Upto 1; rest := fun _ _ _ => Upto 0 |}).
  apply (slack _ one).
  { intros r d t. cbn. specialize (S r d t). unfold direct in S. split.
    - destruct (room L r d t) as [[| k] |]; cbn; auto; [now destruct S | lia].
    - destruct (rest L r d t); cbn; auto; lia. }
  eapply timetable_deadlock_free, (ring_timetable _ K one 1 (fun r n => 2 * n)).
  - now rewrite repeat_length.
  - intros r n. rewrite repeat_length. intros Hr. rewrite letter_of_repeat by auto. cbn zeta. lia.
  - intros r d t. unfold direct. cbn. split; easy.
  - right. intros. lia.
Qed.

Theorem ring_stored_characterisation o K L : 2 <= length o -> 1 <= K -> stores_one L ->
  (deadlocks (ring o K) L <-> o = repeat RecvFirst (length o)).
Proof.
  intros P2 HK S. split.
  - intros H. apply deadlocks_iff_not_free in H.
    destruct (list_eq_dec letter_eq_dec o (repeat RecvFirst (length o))) as [E | N]; auto.
    exfalso. apply H. destruct (list_eq_dec letter_eq_dec o (repeat SendFirst (length o))) as [E | M].
    + rewrite E. now apply send_first_stored.
    + apply slack_rendezvous, nonuniform_free; auto. intros [[|] U]; auto.
  - intros ->. now apply receive_first_deadlocks.
Qed.
