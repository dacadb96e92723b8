(** * The times of the serving loop

    Round t begins with the proxies and requests, from the last rank to the
    first, and goes on with the shift of the outputs.  Any order of the outputs
    within the rounds that respects every rank's ordering will do.  Here: the
    times, and that they increase along each rank. *)

From Coq Require Import List Arith Lia Bool Sorted.
From Ringproof Require Import Semantics Determinism Checker Slack TimedLists Timetable Ring Serving ServingClock.
Import ListNotations.

Section ServingTimes.
Variables (P d : nat) (o : ordering) (b : nat -> bool) (N : nat).
Notation serving := (serving P d o b N).
Notation sends_output := (sends_output P d b).
Notation receives_output := (receives_output P d b).
Notation before_output := (before_output P d b).
Notation after_output := (after_output P d b).
Notation tail := (tail P d b N).
Notation active := (active P d b).

(** ** The times
    [phase t e]: when, within round [t], output [e] is sent; at most [H].
    [D]: how much later it is received; 0 if the send blocks until then. *)
Variables (phase : nat -> nat -> nat) (H D : nat).

Notation B := (B P H D).
Notation round := (round P H D).
Notation begins := (begins P H D).
Notation round_le := (round_le P H D).
Notation begins_lt := (begins_lt P H D).
Notation begins_inv := (begins_inv P H D).
Notation begins_next := (begins_next P H D).

Definition output_time t e := round t + 4 * P + 6 + phase t e.

Definition timed_before r n : list (bool * (nat * op)) :=
  combine (map fst (before_output r n))
    (combine [begins r n; begins r n + 1; begins r n + 2; begins r n + 3;
              round (n + r) + 4 * P + 4; round (n + r) + 4 * P + 5] (map snd (before_output r n))).

Definition timed_output r n : list (bool * (nat * op)) :=
  halves (letter_of o r) (sends_output r n, (output_time (n + r) r, Send (next P r) OUTPUT))
                         (receives_output n, (output_time (n + r) (prev P r) + D, Recv (prev P r) OUTPUT)).

Definition timed_after r n : list (bool * (nat * op)) :=
  combine (map fst (after_output r n))
    (combine [round (n + r) + 4 * P + 7 + H + D; begins r (S n) - 1] (map snd (after_output r n))).

Definition timed_tail r : list (bool * (nat * op)) :=
  combine (map fst (tail r))
    (combine [begins r N; begins r N + 1; begins r N + 2;
              begins r (S N); begins r (S N) + 1; begins r (S N) + 2] (map snd (tail r))).

Definition timed_iteration r n := keep (timed_before r n) ++ keep (timed_output r n) ++ keep (timed_after r n).

Definition timed_serving r : timed :=
  if r <? P then flat_map (timed_iteration r) (seq 0 N) ++ keep (timed_tail r) else [].

Definition serving_delay (r q t : nat) := if t =? REQUESTS then B - 6 else if t =? OUTPUT then D else 0.

Definition serving_library := if D =? 0 then blocking_data else storing_output.

(** The transfers of a round that concern one rank follow in its order, if both are there. *)
Definition phases_in_order := forall r t, r < P -> r <= t ->
  active t r = true -> receives_output (t - r) = true ->
  match letter_of o r with
  | SendFirst => phase t r < phase t (prev P r) + D
  | RecvFirst => phase t (prev P r) + D < phase t r
  end.

Hypothesis P2 : 2 <= P.
Hypothesis Bound : forall t e, e < P -> phase t e <= H.
Hypothesis Order : phases_in_order.

(** ** The timetable belongs to the loop *)
Lemma serving_code r : code serving r = map snd (timed_serving r).
Proof.
  cbn [code serving]. unfold timed_serving. destruct (r <? P); auto.
  rewrite keep_app, keep_flat_map, map_app, map_flat_map. f_equal.
  - apply flat_map_ext. intros n. unfold iteration, timed_iteration.
    rewrite !map_app, !keep_app, !map_keep.
    unfold timed_output, output_phase. now destruct (letter_of o r).
  - now rewrite map_keep.
Qed.

Ltac members := unfold timed_before, timed_after, timed_tail, before_output, after_output, tail;
  cbn [map combine fst snd In].

Lemma before_bounds r n x : r < P -> In x (keep (timed_before r n)) ->
  begins r n <= fst x < round (n + r) + 4 * P + 6.
Proof.
  intros Hr I. apply in_keep in I. revert I. members. unfold begins.
  intros [E | [E | [E | [E | [E | [E | []]]]]]]; injection E as _ <-; cbn; lia.
Qed.

Lemma output_bounds r n x : r < P -> In x (keep (timed_output r n)) ->
  round (n + r) + 4 * P + 6 <= fst x < round (n + r) + 4 * P + 7 + H + D.
Proof.
  intros Hr I. apply in_keep in I. unfold timed_output in I. apply in_halves in I.
  assert (A := Bound (n + r) r Hr). assert (C := Bound (n + r) (prev P r) (prev_range P r Hr)).
  destruct I as [E | E]; injection E as _ ->; cbn; unfold output_time; lia.
Qed.

Lemma after_bounds r n x : r < P -> In x (keep (timed_after r n)) ->
  round (n + r) + 4 * P + 7 + H + D <= fst x < begins r (S n).
Proof.
  intros Hr I. apply in_keep in I. revert I. members. rewrite begins_S. unfold begins, B.
  intros [E | [E | []]]; injection E as _ <-; cbn; lia.
Qed.

Lemma output_increasing r n : r < P -> increasing (keep (timed_output r n)).
Proof.
  intros Hr. assert (O := Order r (n + r) Hr ltac:(lia)). unfold active in O.
  replace (n + r - r) with n in O by lia.
  assert (X : (r <=? n + r) = true) by (apply Nat.leb_le; lia). rewrite X in O. cbn [andb] in O.
  unfold timed_output. destruct (letter_of o r); cbn [halves];
    destruct (sends_output r n), (receives_output n); cbn; repeat constructor; cbn;
    unfold output_time; specialize (O eq_refl eq_refl); lia.
Qed.

Lemma iteration_increasing r n : r < P -> increasing (timed_iteration r n).
Proof.
  intros Hr. apply increasing_app; [| apply increasing_app |].
  - apply keep_increasing. members. unfold increasing, begins. cbn. repeat constructor; lia.
  - now apply output_increasing.
  - apply keep_increasing. members. unfold increasing. rewrite begins_S. unfold begins, B. cbn.
    repeat constructor; lia.
  - intros x y I J. apply output_bounds in I; auto. apply after_bounds in J; auto. lia.
  - intros x y I J. apply before_bounds in I; auto. apply in_app_iff in J.
    destruct J as [J | J]; [apply output_bounds in J | apply after_bounds in J]; auto; lia.
Qed.

Lemma iteration_bounds r n x : r < P -> In x (timed_iteration r n) -> begins r n <= fst x < begins r (S n).
Proof.
  intros Hr I. unfold timed_iteration in I. rewrite !in_app_iff in I.
  assert (Z : begins r n <= round (n + r) + 4 * P) by (unfold begins; lia).
  assert (Y : round (n + r) + 4 * P + 7 + H + D <= begins r (S n)) by (rewrite begins_S; unfold begins, B; lia).
  destruct I as [I | [I | I]];
    [apply before_bounds in I | apply output_bounds in I | apply after_bounds in I]; auto; lia.
Qed.

Lemma serving_increasing r : increasing (timed_serving r).
Proof.
  unfold timed_serving. destruct (Nat.ltb_spec r P) as [Hr | Hr]; [| constructor].
  assert (M : forall i j, i <= j -> begins r i <= begins r j).
  { intros i j L. unfold begins. assert (X := round_le (i + r) (j + r)). lia. }
  apply increasing_app.
  - apply increasing_blocks with (lo := begins r).
    + intros. now apply iteration_increasing.
    + intros. now apply iteration_bounds.
    + intros. apply M. lia.
  - apply keep_increasing. members. unfold increasing. rewrite begins_S. unfold B. cbn. repeat constructor; lia.
  - intros x y I J. apply in_flat_map in I. destruct I as (n & I & X). apply in_seq in I.
    apply iteration_bounds in X; auto. assert (Z := M (S n) N ltac:(lia)).
    apply in_keep in J. revert J. members. rewrite begins_S.
    intros [E | [E | [E | [E | [E | [E | []]]]]]]; injection E as _ <-; cbn; lia.
Qed.

End ServingTimes.
