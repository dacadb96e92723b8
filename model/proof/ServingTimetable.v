(** * A timetable for the serving loop

    Round t begins with the proxies and requests, from the last rank to the
    first, and goes on with the shift of the outputs.  Any order of the outputs
    within the rounds that respects every rank's ordering will do. *)

From Coq Require Import List Arith Lia Bool Sorted.
From Ringproof Require Import Semantics Determinism Checker Slack TimedLists Timetable Ring Serving ServingClock.
Import ListNotations.

Section ServingTimetable.
Variables (P d : nat) (o : ordering) (b : nat -> bool) (N : nat).
Notation slots := (P + d).
Notation serving := (serving P d o b N).
Notation formed := (formed b).
Notation sends_output := (sends_output P d b).
Notation receives_output := (receives_output P d b).
Notation before_output := (before_output P d b).
Notation after_output := (after_output P d b).
Notation tail := (tail P d b N).
Notation active := (active P d b).
Notation drained := (drained P d b N).

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
Hypothesis Drained : drained.

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

(** ** Which messages there are *)
Lemma in_serving r x : In x (timed_serving r) <-> r < P /\
  ((exists n, n < N /\ (In (true, x) (timed_before r n) \/ In (true, x) (timed_output r n) \/
                        In (true, x) (timed_after r n))) \/ In (true, x) (timed_tail r)).
Proof.
  unfold timed_serving. destruct (Nat.ltb_spec r P) as [Hr | Hr]; [| cbn; lia].
  rewrite in_app_iff, in_keep, in_flat_map. split.
  - intros [(n & I & X) | X]; auto. apply in_seq in I. unfold timed_iteration in X.
    rewrite !in_app_iff, !in_keep in X. split; auto. left. exists n. split; [lia | auto].
  - intros [_ [(n & I & X) | X]]; auto. left. exists n. split; [apply in_seq; lia |].
    unfold timed_iteration. now rewrite !in_app_iff, !in_keep.
Qed.

Lemma in_timed_output r n g : In g (timed_output r n) <->
  (sends_output r n, (output_time (n + r) r, Send (next P r) OUTPUT)) = g \/
  (receives_output n, (output_time (n + r) (prev P r) + D, Recv (prev P r) OUTPUT)) = g.
Proof. unfold timed_output. rewrite in_halves. intuition auto. Qed.

Definition is_sent r q t k :=
  (exists n, n <= N /\ S r < P /\ q = S r /\ t = REQUESTS /\ k = begins r n + 2) \/
  (exists n, n < N /\ S r < P /\ b n = true /\ q = S r /\ t = PROXY /\ k = begins r (S n) - 1) \/
  (exists n, n < N /\ sends_output r n = true /\ q = next P r /\ t = OUTPUT /\ k = output_time (n + r) r).

Definition is_received q r t k :=
  (exists n, n <= N /\ 0 < r /\ q = r - 1 /\ t = REQUESTS /\ k = begins r n) \/
  (exists n, n < N /\ 0 < r /\ b n = true /\ q = r - 1 /\ t = PROXY /\ k = begins r n + 3) \/
  (exists n, n < N /\ receives_output n = true /\ q = prev P r /\ t = OUTPUT /\ k = output_time (n + r) (prev P r) + D).

Lemma in_serving_send r q t k : In (k, Send q t) (timed_serving r) <-> r < P /\ is_sent r q t k.
Proof.
  rewrite in_serving. split.
  - intros [Hr I]. split; auto. unfold is_sent.
    destruct I as [(n & Hn & [I | [I | I]]) | I]; revert I;
      rewrite ?in_timed_output; members; intros I;
      repeat match type of I with _ \/ _ => destruct I as [I | I] end; try easy; injection I as C <- <- <-;
      rewrite ?andb_true_iff, ?Nat.ltb_lt in C.
    + left. exists n. intuition lia.
    + right. right. exists n. auto.
    + right. left. exists n. tauto.
    + left. exists N. auto.
  - intros [Hr [I | [I | I]]]; (split; [exact Hr |]).
    + destruct I as (n & Hn & C & -> & -> & ->). apply Nat.ltb_lt in C.
      destruct (Nat.eq_dec n N) as [-> | NE].
      * right. members. rewrite C. auto 10.
      * left. exists n. split; [lia |]. left. members. rewrite C. auto 10.
    + destruct I as (n & Hn & C & F & -> & -> & ->). apply Nat.ltb_lt in C.
      left. exists n. split; auto. right; right. members. rewrite C, F. auto 10.
    + destruct I as (n & Hn & C & -> & -> & ->).
      left. exists n. split; auto. right; left. rewrite in_timed_output, C. auto.
Qed.

Lemma in_serving_recv q r t k : In (k, Recv q t) (timed_serving r) <-> r < P /\ is_received q r t k.
Proof.
  rewrite in_serving. split.
  - intros [Hr I]. split; auto. unfold is_received.
    destruct I as [(n & Hn & [I | [I | I]]) | I]; revert I;
      rewrite ?in_timed_output; members; intros I;
      repeat match type of I with _ \/ _ => destruct I as [I | I] end; try easy; injection I as C <- <- <-;
      rewrite ?andb_true_iff, ?Nat.ltb_lt in C.
    + left. exists n. intuition lia.
    + right. left. exists n. tauto.
    + right. right. exists n. auto.
    + left. exists N. auto.
  - intros [Hr [I | [I | I]]]; (split; [exact Hr |]).
    + destruct I as (n & Hn & C & -> & -> & ->). apply Nat.ltb_lt in C.
      destruct (Nat.eq_dec n N) as [-> | NE].
      * right. members. rewrite C. auto 10.
      * left. exists n. split; [lia |]. left. members. rewrite C. auto 10.
    + destruct I as (n & Hn & C & F & -> & -> & ->). apply Nat.ltb_lt in C.
      left. exists n. split; auto. left. members. rewrite C, F. auto 10.
    + destruct I as (n & Hn & C & -> & -> & ->).
      left. exists n. split; auto. right; left. rewrite in_timed_output, C. auto.
Qed.

Lemma in_serving_wait r q t k : In (k, Wait q t) (timed_serving r) -> exists n, n <= S N /\
  (t = OUTPUT /\ k = round (n + r) + 4 * P + 5 \/ k <= begins r n + 2 /\ begins r n <= k /\ (t = REQUESTS -> k <= begins r n + 1) \/ t = PROXY).
Proof.
  rewrite in_serving. intros [Hr I].
  destruct I as [(n & Hn & [I | [I | I]]) | I]; revert I;
    rewrite ?in_timed_output; members; intros I;
    repeat match type of I with _ \/ _ => destruct I as [I | I] end; try easy; injection I as _ <- _ <-.
  - exists n. split; [lia |]. right; left. lia.
  - exists n. split; [lia |]. auto.
  - exists n. split; [lia |]. left. auto.
  - exists n. split; [lia |]. auto.
  - exists N. split; [lia |]. right; left. lia.
  - exists (S N). split; [lia |]. right; left. lia.
  - exists (S N). split; [lia |]. auto.
  - exists (S N). split; [lia |]. right; left. split; [lia |]. split; [lia | easy].
Qed.

Lemma formed_spec k n : formed k n = true <-> k <= n /\ b (n - k) = true.
Proof. unfold formed. now rewrite andb_true_iff, Nat.leb_le. Qed.

(** *** The loop has a timetable *)
Theorem serving_timetable : timetable serving serving_library timed_serving serving_delay.
Proof.
  split.
  - exact serving_code.
  - intros r Hr. unfold timed_serving. cbn in Hr. apply Nat.ltb_ge in Hr. now rewrite Hr.
  - exact serving_increasing.
  - intros r q t k. rewrite in_serving_send, in_serving_recv. unfold is_sent, is_received, serving_delay.
    intros [Hr [(n & Hn & C & -> & -> & ->) | [(n & Hn & C & F & -> & -> & ->) | (n & Hn & C & -> & -> & ->)]]]; cbn [Nat.eqb REQUESTS PROXY OUTPUT].
    + split; [lia |]. left. exists n. rewrite begins_next by auto. unfold B. lia.
    + split; [lia |]. right; left. exists n. rewrite begins_next, begins_S by auto. unfold B. repeat split; auto; lia.
    + split; [now apply next_range |]. right; right. rewrite prev_next by auto.
      unfold sends_output, receives_output, next in *. destruct (Nat.eqb_spec (S r) P) as [E | E]; apply formed_spec in C;
        destruct C as [C F].
      * exists (n + P - 1). assert (X := Drained _ F). rewrite formed_spec.
        replace (n + P - 1 - (P + d - 1)) with (n - d) by lia.
        replace (n + P - 1 + 0) with (n + r) by lia. repeat split; auto; lia.
      * exists (n - 1). rewrite formed_spec. replace (n - 1 - (P + d - 1)) with (n - (P + d)) by lia.
        replace (n - 1 + S r) with (n + r) by lia. repeat split; auto; lia.
  - intros q r t k. rewrite in_serving_recv. unfold is_received, serving_delay.
    intros [Hr [(n & Hn & C & -> & -> & ->) | [(n & Hn & C & F & -> & -> & ->) | (n & Hn & C & -> & -> & ->)]]]; cbn [Nat.eqb REQUESTS PROXY OUTPUT].
    + exists (begins (r - 1) n + 2). assert (X := begins_next (r - 1) n ltac:(lia)).
      replace (S (r - 1)) with r in X by lia. split; [rewrite X; unfold B; lia |].
      apply in_serving_send. split; [lia |]. left. exists n. repeat split; auto; lia.
    + exists (begins (r - 1) (S n) - 1). assert (X := begins_next (r - 1) n ltac:(lia)).
      replace (S (r - 1)) with r in X by lia. split; [rewrite X, begins_S; unfold B; lia |].
      apply in_serving_send. split; [lia |]. right; left. exists n. repeat split; auto; lia.
    + eexists. split; [reflexivity |].
      apply in_serving_send. split; [now apply prev_range |]. right; right. rewrite next_prev by auto.
      unfold receives_output in C. apply formed_spec in C. destruct C as [C F]. assert (X := Drained _ F).
      unfold sends_output, prev. destruct (Nat.eqb_spec r 0) as [E | E].
      * exists (n + 1 - P). replace (S (P - 1) =? P) with true by (symmetry; apply Nat.eqb_eq; lia).
        rewrite formed_spec. replace (n + 1 - P - d) with (n - (P + d - 1)) by lia.
        replace (n + 1 - P + (P - 1)) with (n + r) by lia. repeat split; auto; lia.
      * exists (n + 1). replace (S (r - 1) =? P) with false by (symmetry; apply Nat.eqb_neq; lia).
        rewrite formed_spec. replace (n + 1 - (P + d)) with (n - (P + d - 1)) by lia.
        replace (n + 1 + (r - 1)) with (n + r) by lia. repeat split; auto; lia.
  - intros r q t. unfold direct, serving_delay, serving_library, B, blocking_data, storing_output.
    destruct t as [| [| [| t]]]; destruct (Nat.eqb_spec D 0) as [Z | Z]; cbn; split; intros; easy || lia || auto.
  - intros r q t k k' ND. rewrite !in_serving_send. intros [Hr S1] [_ S2] LT.
    assert (Mono := fun i j => round_le (S i + r) (j + r)). cbn [Nat.add] in Mono.
    destruct S1 as [(n & _ & _ & _ & T & E) | [(n & _ & _ & _ & _ & T & E) | (n & _ & _ & _ & T & E)]],
      S2 as [(m & _ & _ & _ & T' & E') | [(m & _ & _ & _ & _ & T' & E') | (m & _ & _ & _ & T' & E')]];
      subst; try easy; unfold serving_delay; cbn [Nat.eqb REQUESTS PROXY OUTPUT].
    + assert (X := begins_inv r n m 2 2 ltac:(lia) ltac:(lia) LT).
      destruct X as [X | ->]; [apply (begins_lt r) in X; unfold B in *; lia | lia].
    + destruct ND. unfold direct, serving_library. now destruct (D =? 0).
    + destruct (Nat.lt_trichotomy n m) as [X | [-> | X]]; [| lia |].
      * specialize (Mono n m ltac:(lia)). rewrite round_S in Mono. assert (Y := Bound (n + r) r Hr).
        unfold output_time, B in *. lia.
      * exfalso. specialize (Mono m n ltac:(lia)). rewrite round_S in Mono. assert (Y := Bound (m + r) r Hr).
        unfold output_time, B in *. lia.
  - intros r q t k k'. rewrite in_serving_send. intros [Hr S1] W LT. apply in_serving_wait in W.
    destruct W as (m & Hm & W).
    destruct S1 as [(n & _ & C & _ & T & E) | [(n & _ & C & _ & _ & T & E) | (n & _ & _ & _ & T & E)]]; subst;
      unfold serving_delay; cbn [Nat.eqb REQUESTS PROXY OUTPUT].
    + destruct W as [[W _] | [[_ [W' W]] | W]]; try easy. specialize (W eq_refl).
      assert (X : n < m \/ n = m) by (apply (begins_inv r n m 2 1); lia).
      destruct X as [X | ->]; [apply (begins_lt r) in X; unfold B in *; lia | lia].
    + lia.
    + assert (W' : k' = round (m + r) + 4 * P + 5 \/ begins r m <= k' <= begins r m + 2)
        by (destruct W as [[_ W] | [W | W]]; [lia | lia | easy]). clear W.
      assert (Mono := round_le (m + r) (n + r)).
      assert (Mono' := round_le (S n + r) (m + r)). cbn [Nat.add] in Mono'. rewrite round_S in Mono'.
      assert (Y := Bound (n + r) r Hr).
      assert (X : n < m).
      { destruct (le_lt_dec m n) as [X |]; auto. exfalso. specialize (Mono ltac:(lia)).
        unfold output_time, begins in *. lia. }
      specialize (Mono' ltac:(lia)). unfold output_time, begins, B in *. lia.
Qed.

Theorem serving_deadlock_free : deadlock_free serving serving_library.
Proof. exact (timetable_deadlock_free _ _ _ _ serving_timetable). Qed.

End ServingTimetable.
