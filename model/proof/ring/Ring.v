(** * Timetables of rings, and the potential of an ordering

    Ranks are the edges of a cycle whose vertices are the transfers (transfer
    [e] goes from rank [e] to the next one), and an ordering orients the cycle.
    If it is not uniform, it has a potential: walking around the ring, go up by
    the number of send-first ranks at a receive-first rank and down by the
    number of receive-first ranks at a send-first rank.  Once around, the ups
    and downs cancel.  The potential plus P per round is a timetable. *)

From Coq Require Import List Arith Lia Bool Sorted.
From Ringproof Require Import Semantics TimedLists Timetable.
Import ListNotations.

Definition letter_eq_dec (a b : letter) : {a = b} + {a <> b}.
Proof. decide equality. Defined.

Definition uniform (o : ordering) := exists l, o = repeat l (length o).

(** ** The ring and its edges *)
Lemma next_range P r : r < P -> next P r < P.
Proof. intros H. unfold next. destruct (Nat.eqb_spec (S r) P); lia. Qed.

Lemma prev_range P r : r < P -> prev P r < P.
Proof. intros H. unfold prev. destruct (Nat.eqb_spec r 0); lia. Qed.

Lemma prev_next P r : r < P -> prev P (next P r) = r.
Proof.
  intros H. unfold next. destruct (Nat.eqb_spec (S r) P); unfold prev; cbn; lia.
Qed.

Lemma next_prev P r : r < P -> next P (prev P r) = r.
Proof.
  intros H. unfold prev. destruct (Nat.eqb_spec r 0); unfold next.
  - destruct (Nat.eqb_spec (S (P - 1)) P); lia.
  - destruct (Nat.eqb_spec (S (r - 1)) P); lia.
Qed.

(** ** Timetables of a ring

    [send r n]: when rank [r] sends in round [n]; the message is received
    [delay] later (0: a rendezvous). *)
Definition timed_ring (o : ordering) (K delay : nat) (send : nat -> nat -> nat) r : timed :=
  let P := length o in
  flat_map (fun n => halves (letter_of o r) (send r n, Send (next P r) 0)
                            (send (prev P r) n + delay, Recv (prev P r) 0))
           (seq 0 (if r <? P then K else 0)).

(** Each rank's two operations follow in its order, round after round. *)
Definition in_order (o : ordering) (delay : nat) (send : nat -> nat -> nat) :=
  forall r n, r < length o ->
    let s := send r n in let v := send (prev (length o) r) n + delay in
    match letter_of o r with
    | SendFirst => s < v /\ v < send r (S n)
    | RecvFirst => v < s /\ s < send (prev (length o) r) (S n) + delay
    end.

Lemma map_flat_map {A B C} (f : B -> C) (g : A -> list B) l :
  map f (flat_map g l) = flat_map (fun x => map f (g x)) l.
Proof. induction l; cbn; auto. rewrite map_app. congruence. Qed.

Lemma in_halves {A} l (a b x : A) : In x (halves l a b) <-> x = a \/ x = b.
Proof. destruct l; cbn; intuition auto. Qed.

Lemma in_timed_ring o K delay send r x : In x (timed_ring o K delay send r) <->
  r < length o /\ exists n, n < K /\ (x = (send r n, Send (next (length o) r) 0) \/
    x = (send (prev (length o) r) n + delay, Recv (prev (length o) r) 0)).
Proof.
  unfold timed_ring. rewrite in_flat_map. destruct (Nat.ltb_spec r (length o)) as [H | H].
  - split.
    + intros (n & I & J). apply in_seq in I. apply in_halves in J. split; auto. exists n. split; auto. lia.
    + intros (_ & n & I & J). exists n. split; [apply in_seq; lia | now apply in_halves].
  - split; [intros (n & [] & _) | lia].
Qed.

Definition every_delay (d : nat) := fun _ _ _ : nat => d.

Theorem ring_timetable o K L delay send : 2 <= length o -> in_order o delay send ->
  (forall r d t, direct L r d t <-> delay = 0) ->
  (delay = 0 \/ forall r n, send r n + delay < send r (S n)) ->
  timetable (ring o K) L (timed_ring o K delay send) (every_delay delay).
Proof.
  intros P2 H D Store. split; unfold every_delay; auto.
  - intros r. unfold timed_ring. rewrite map_flat_map. cbn.
    apply flat_map_ext. intros n. now destruct (letter_of o r).
  - intros r Hr. cbn in Hr. unfold timed_ring. apply Nat.ltb_ge in Hr. now rewrite Hr.
  - intros r. unfold timed_ring. destruct (Nat.ltb_spec r (length o)) as [Hr | Hr]; [| constructor].
    assert (Hn := fun n => H r n Hr). cbn zeta in Hn.
    destruct (letter_of o r); cbn [halves].
    + apply increasing_blocks with (lo := fun n => send r n).
      * intros n _. repeat constructor; cbn; apply Hn.
      * intros n x _ [<- | [<- | []]]; cbn; specialize (Hn n); lia.
      * intros n. specialize (Hn n). lia.
    + apply increasing_blocks with (lo := fun n => send (prev (length o) r) n + delay).
      * intros n _. repeat constructor; cbn; apply Hn.
      * intros n x _ [<- | [<- | []]]; cbn; specialize (Hn n); lia.
      * intros n. specialize (Hn n). lia.
  - intros r d t k I. apply in_timed_ring in I. destruct I as (Hr & n & Hn & [E | E]); [| easy].
    injection E as -> -> ->. apply in_timed_ring. split; [now apply next_range |].
    exists n. split; auto. right. now rewrite prev_next.
  - intros r d t k I. apply in_timed_ring in I. destruct I as (Hr & n & Hn & [E | E]); [easy |].
    injection E as -> -> ->. eexists. split; [reflexivity |].
    apply in_timed_ring. split; [now apply prev_range |].
    exists n. split; auto. left. now rewrite next_prev.
  - intros r d t k k' ND I J. destruct Store as [Z | Store]; [now destruct ND; apply D |].
    apply in_timed_ring in I, J.
    destruct I as (_ & n & _ & [E | E]), J as (_ & m & _ & [F | F]); try easy.
    injection E as -> -> ->. injection F as ->. intros LT.
    assert (M : forall i j, i < j -> send r i + delay < send r j).
    { induction 1 as [| j _ IH]; auto. specialize (Store r j). lia. }
    apply M. destruct (Nat.lt_trichotomy n m) as [A | [A | A]]; auto; [subst; lia |].
    specialize (M m n A). lia.
  - intros r d t k k' _ I. apply in_timed_ring in I. destruct I as (_ & n & _ & [E | E]); easy.
Qed.

Corollary ring_in_order_free o K send : 2 <= length o -> in_order o 0 send ->
  deadlock_free (ring o K) rendezvous.
Proof.
  intros P2 H. eapply timetable_deadlock_free, (ring_timetable o K rendezvous 0 send); auto.
  intros r d t. now split.
Qed.

(** ** The potential of an ordering *)
Definition how_many l (o : ordering) := count_occ letter_eq_dec o l.

(** The potential of transfer [e]; the offset keeps it in the natural numbers. *)
Definition potential (o : ordering) e :=
  length o * length o + how_many SendFirst o * how_many RecvFirst (firstn (S e) o)
    - how_many RecvFirst o * how_many SendFirst (firstn (S e) o).

Definition potential_time o e n := potential o e + n * length o.

Lemma how_many_total o : how_many SendFirst o + how_many RecvFirst o = length o.
Proof. unfold how_many. induction o as [| [|] o IH]; cbn; lia. Qed.

Lemma how_many_app l o o' : how_many l (o ++ o') = how_many l o + how_many l o'.
Proof. apply count_occ_app. Qed.

Lemma how_many_firstn l i o : how_many l (firstn i o) <= how_many l o.
Proof. rewrite <- (firstn_skipn i o) at 2. rewrite how_many_app. lia. Qed.

Lemma how_many_succ l o r : r < length o -> how_many l (firstn (S r) o) =
  how_many l (firstn r o) + (if letter_eq_dec (letter_of o r) l then 1 else 0).
Proof.
  intros H. rewrite (firstn_succ o r (letter_of o r)) by now apply nth_error_nth'.
  rewrite how_many_app. reflexivity.
Qed.

(** Going from the transfer into [r] to the transfer out of [r]. *)
Lemma potential_step o r : r < length o ->
  match letter_of o r with
  | SendFirst => potential o (prev (length o) r) = potential o r + how_many RecvFirst o
  | RecvFirst => potential o r = potential o (prev (length o) r) + how_many SendFirst o
  end.
Proof.
  intros H. unfold potential, prev.
  assert (TOT := how_many_total o). set (a := how_many SendFirst o) in *. set (b := how_many RecvFirst o) in *.
  assert (SA := how_many_succ SendFirst o r H). assert (SB := how_many_succ RecvFirst o r H).
  assert (BA := how_many_firstn SendFirst (S r) o). fold a in BA.
  assert (LB : b * how_many SendFirst (firstn (S r) o) <= length o * length o) by (apply Nat.mul_le_mono; lia).
  destruct (Nat.eqb_spec r 0) as [-> | N].
  - replace (S (length o - 1)) with (length o) by lia. rewrite !firstn_all. fold a b.
    rewrite SA, SB in *. cbn [firstn how_many count_occ] in *.
    destruct (letter_of o 0); cbn in *; nia.
  - replace (S (r - 1)) with r by lia. rewrite SA, SB in *.
    destruct (letter_of o r); cbn in *; nia.
Qed.

Lemma potential_bound o e : potential o e <= 2 * (length o * length o).
Proof.
  assert (A := how_many_total o). assert (X := how_many_firstn RecvFirst (S e) o). unfold potential.
  assert (how_many SendFirst o * how_many RecvFirst (firstn (S e) o) <= length o * length o)
    by (apply Nat.mul_le_mono; lia).
  lia.
Qed.

Lemma only_letter l o : (forall l', l' <> l -> how_many l' o = 0) -> o = repeat l (length o).
Proof.
  intros H. induction o as [| x o IH]; auto. cbn. f_equal.
  - destruct (letter_eq_dec x l) as [E | N]; auto. specialize (H x N). cbn in H.
    now destruct (letter_eq_dec x x).
  - apply IH. intros l' N. specialize (H l' N). cbn in H. destruct (letter_eq_dec x l'); [easy | auto].
Qed.

Lemma letters_present o : ~ uniform o -> 0 < how_many SendFirst o /\ 0 < how_many RecvFirst o.
Proof.
  intros N. split; apply Nat.neq_0_lt_0; intros E; apply N.
  - exists RecvFirst. apply only_letter. intros [|] D; [auto | easy].
  - exists SendFirst. apply only_letter. intros [|] D; [easy | auto].
Qed.

Lemma potential_in_order o : ~ uniform o -> in_order o 0 (potential_time o).
Proof.
  intros N r n H. assert (X := potential_step o r H). destruct (letters_present o N).
  assert (TOT := how_many_total o). unfold potential_time. cbn [Nat.mul].
  destruct (letter_of o r); lia.
Qed.
