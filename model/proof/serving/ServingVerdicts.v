(** * When the serving loop is deadlock-free

    If the ordering is not uniform, always.  If it is uniform, whenever no P
    consecutive iterations carry a batch, for then each round has a transfer
    that does not take place and the ring is cut there. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Slack TimedLists Timetable Ring RingVerdicts Serving
  ServingTimes ServingTimetable.
Import ListNotations.

(** P consecutive iterations, from [m] on, carry a batch. *)
Definition consecutive P (b : nat -> bool) m := forall i, i < P -> b (m + i) = true.

Section Verdicts.
Variables (P d : nat) (b : nat -> bool) (N : nat).
Hypothesis P2 : 2 <= P.
Hypothesis Drained : drained P d b N.

Notation active := (active P d b).
Notation receives_output := (receives_output P d b).

(** What a rank receives in round [t], the rank before it sends in round [t]. *)
Lemma received_is_active t r : r < P -> r <= t ->
  receives_output (t - r) = true -> active t (prev P r) = true.
Proof.
  intros Hr Ht C. apply formed_spec in C. destruct C as [C F].
  unfold active, Serving.active, sends_output, prev.
  destruct (Nat.eqb_spec r 0) as [-> | E]; rewrite andb_true_iff, Nat.leb_le; (split; [lia |]).
  - replace (S (P - 1) =? P) with true by (symmetry; apply Nat.eqb_eq; lia).
    apply formed_spec. replace (t - (P - 1) - d) with (t - 0 - (P + d - 1)) by lia. split; [lia | auto].
  - replace (S (r - 1) =? P) with false by (symmetry; apply Nat.eqb_neq; lia).
    apply formed_spec. replace (t - (r - 1) - (P + d)) with (t - r - (P + d - 1)) by lia. split; [lia | auto].
Qed.

(** ** Orderings that are not uniform *)
Theorem serving_nonuniform_free o L : length o = P -> ~ uniform o -> at_least blocking_data L ->
  deadlock_free (serving P d o b N) L.
Proof.
  intros E NU HL. apply (slack _ _ _ HL).
  apply (serving_deadlock_free P d o b N (fun _ e => potential o e) (2 * (P * P)) 0); auto.
  - intros _ e _. rewrite <- E. apply potential_bound.
  - intros r t Hr _ _ _. assert (X := potential_step o r). rewrite E in X. specialize (X Hr).
    destruct (letters_present o NU). destruct (letter_of o r); lia.
Qed.

(** ** Rounds with a gap *)
Definition idle t := match find (fun e => negb (active t e)) (seq 0 P) with Some e => e | None => 0 end.

Lemma full_round_consecutive t : (forall e, e < P -> active t e = true) -> exists m, consecutive P b m.
Proof.
  intros F.
  assert (G : forall e, e < P -> e <= t /\
    if S e =? P then d <= t - e /\ b (t - e - d) = true else P + d <= t - e /\ b (t - e - (P + d)) = true).
  { intros e He. specialize (F e He). unfold active, Serving.active, sends_output in F.
    rewrite andb_true_iff, Nat.leb_le in F. destruct F as [X F]. split; auto.
    destruct (S e =? P); now apply formed_spec in F. }
  exists (t - (P - 2) - (P + d)). intros i Hi.
  assert (G0 := G (P - 2) ltac:(lia)). replace (S (P - 2) =? P) with false in G0 by (symmetry; apply Nat.eqb_neq; lia).
  destruct (Nat.eq_dec i (P - 1)) as [-> | NE].
  - assert (G1 := G (P - 1) ltac:(lia)). replace (S (P - 1) =? P) with true in G1 by (symmetry; apply Nat.eqb_eq; lia).
    destruct G1 as (_ & _ & G1). replace (t - (P - 2) - (P + d) + (P - 1)) with (t - (P - 1) - d) by lia. auto.
  - assert (G1 := G (P - 2 - i) ltac:(lia)).
    replace (S (P - 2 - i) =? P) with false in G1 by (symmetry; apply Nat.eqb_neq; lia).
    destruct G1 as (_ & _ & G1). replace (t - (P - 2) - (P + d) + i) with (t - (P - 2 - i) - (P + d)) by lia. auto.
Qed.

Hypothesis Gaps : forall m, ~ consecutive P b m.

Lemma idle_spec t : idle t < P /\ active t (idle t) = false.
Proof.
  unfold idle. destruct (find _ _) as [e |] eqn:E.
  - apply find_some in E. destruct E as [I E]. apply in_seq in I. apply negb_true_iff in E. split; [lia | auto].
  - exfalso. assert (A := find_none _ _ E). destruct (full_round_consecutive t) as [m M].
    + intros e He. specialize (A e). rewrite in_seq in A. specialize (A ltac:(lia)). now apply negb_false_iff in A.
    + exact (Gaps m M).
Qed.

(** Against the direction of the ring, counted from the gap. *)
Definition from_gap t e := if e <=? idle t then idle t - e else idle t + P - e.

Lemma from_gap_step t r : r < P -> r <= t -> active t r = true -> receives_output (t - r) = true ->
  from_gap t r < from_gap t (prev P r) <= P.
Proof.
  intros Hr Ht A C. apply received_is_active in C; auto. assert (I := idle_spec t). destruct I as [I J].
  assert (N1 : r <> idle t) by congruence. assert (N2 : prev P r <> idle t) by congruence.
  unfold from_gap, prev in *. destruct (Nat.eqb_spec r 0) as [-> | E].
  - destruct (Nat.leb_spec 0 (idle t)), (Nat.leb_spec (P - 1) (idle t)); lia.
  - destruct (Nat.leb_spec r (idle t)), (Nat.leb_spec (r - 1) (idle t)); lia.
Qed.

Theorem serving_gaps_free o L : length o = P -> at_least blocking_data L -> deadlock_free (serving P d o b N) L.
Proof.
  intros E HL. destruct (list_eq_dec letter_eq_dec o (repeat SendFirst P)) as [-> | NS].
  { apply (slack _ _ _ HL). apply (serving_deadlock_free P d _ b N from_gap P 0); auto.
    - intros t e He. unfold from_gap. assert (I := idle_spec t). destruct (Nat.leb_spec e (idle t)); lia.
    - intros r t Hr Ht A C. rewrite letter_of_repeat by auto. assert (X := from_gap_step t r Hr Ht A C). lia. }
  destruct (list_eq_dec letter_eq_dec o (repeat RecvFirst P)) as [-> | NR].
  { apply (slack _ _ _ HL). apply (serving_deadlock_free P d _ b N (fun t e => P - from_gap t e) P 0); auto.
    - intros. lia.
    - intros r t Hr Ht A C. rewrite letter_of_repeat by auto. assert (X := from_gap_step t r Hr Ht A C). lia. }
  apply serving_nonuniform_free; auto. intros [[|] U]; rewrite E in U; auto.
Qed.
End Verdicts.

(** ** Asynchronous outputs *)
Theorem serving_send_first_stored P d b N L : 2 <= P -> drained P d b N -> at_least storing_output L ->
  deadlock_free (serving P d (repeat SendFirst P) b N) L.
Proof.
  intros P2 Dr HL. apply (slack _ _ _ HL).
  apply (serving_deadlock_free P d (repeat SendFirst P) b N (fun _ _ => 0) 0 1); auto.
  intros r t Hr _ _ _. rewrite letter_of_repeat by auto. lia.
Qed.
