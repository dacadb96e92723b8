(** * A timetable for the serving loop

    Which messages there are and when, and that each is received at its time: so
    the times make a timetable, and the loop is deadlock-free. *)

From Coq Require Import List Arith Lia Bool Sorted.
From Ringproof Require Import Semantics Determinism Checker Slack TimedLists Timetable Ring Serving ServingClock
  ServingTimes.
Import ListNotations.

Section ServingTimetable.
Variables (P d : nat) (o : ordering) (b : nat -> bool) (N : nat).
Notation serving := (serving P d o b N).
Notation formed := (formed b).
Notation sends_output := (sends_output P d b).
Notation receives_output := (receives_output P d b).
Notation before_output := (before_output P d b).
Notation after_output := (after_output P d b).
Notation tail := (tail P d b N).
Notation active := (active P d b).
Notation drained := (drained P d b N).

Variables (phase : nat -> nat -> nat) (H D : nat).

Notation B := (B P H D).
Notation round := (round P H D).
Notation begins := (begins P H D).
Notation round_le := (round_le P H D).
Notation begins_lt := (begins_lt P H D).
Notation begins_inv := (begins_inv P H D).
Notation begins_next := (begins_next P H D).

Notation output_time := (output_time P phase H D).
Notation timed_before := (timed_before P d b H D).
Notation timed_output := (timed_output P d o b phase H D).
Notation timed_after := (timed_after P d b H D).
Notation timed_tail := (timed_tail P d b N H D).
Notation timed_serving := (timed_serving P d o b N phase H D).
Notation serving_delay := (serving_delay P H D).
Notation serving_library := (serving_library D).

Hypothesis P2 : 2 <= P.
Hypothesis Bound : forall t e, e < P -> phase t e <= H.
Hypothesis Order : phases_in_order P d o b phase D.
Hypothesis Drained : drained.

Ltac members := unfold ServingTimes.timed_before, ServingTimes.timed_after, ServingTimes.timed_tail,
  Serving.before_output, Serving.after_output, Serving.tail; cbn [map combine fst snd In].

(** ** Which messages there are *)
Lemma in_serving r x : In x (timed_serving r) <-> r < P /\
  ((exists n, n < N /\ (In (true, x) (timed_before r n) \/ In (true, x) (timed_output r n) \/
                        In (true, x) (timed_after r n))) \/ In (true, x) (timed_tail r)).
Proof.
  unfold ServingTimes.timed_serving. destruct (Nat.ltb_spec r P) as [Hr | Hr]; [| cbn; lia].
  rewrite in_app_iff, in_keep, in_flat_map. split.
  - intros [(n & I & X) | X]; auto. apply in_seq in I. unfold ServingTimes.timed_iteration in X.
    rewrite !in_app_iff, !in_keep in X. split; auto. left. exists n. split; [lia | auto].
  - intros [_ [(n & I & X) | X]]; auto. left. exists n. split; [apply in_seq; lia |].
    unfold ServingTimes.timed_iteration. now rewrite !in_app_iff, !in_keep.
Qed.

Lemma in_timed_output r n g : In g (timed_output r n) <->
  (sends_output r n, (output_time (n + r) r, Send (next P r) OUTPUT)) = g \/
  (receives_output n, (output_time (n + r) (prev P r) + D, Recv (prev P r) OUTPUT)) = g.
Proof. unfold ServingTimes.timed_output. rewrite in_halves. intuition auto. Qed.

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
  (t = OUTPUT /\ k = round (n + r) + 4 * P + 5 \/ k <= begins r n + 2 /\ begins r n <= k /\
    (t = REQUESTS -> k <= begins r n + 1) \/ t = PROXY).
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
  - intros r. apply serving_code.
  - intros r Hr. unfold ServingTimes.timed_serving. cbn in Hr. apply Nat.ltb_ge in Hr. now rewrite Hr.
  - now apply serving_increasing.
  - intros r q t k. rewrite in_serving_send, in_serving_recv. unfold is_sent, is_received, ServingTimes.serving_delay.
    intros [Hr [(n & Hn & C & -> & -> & ->) | [(n & Hn & C & F & -> & -> & ->) | (n & Hn & C & -> & -> & ->)]]];
      cbn [Nat.eqb REQUESTS PROXY OUTPUT].
    + split; [lia |]. left. exists n. rewrite begins_next by auto. unfold B. lia.
    + split; [lia |]. right; left. exists n. rewrite begins_next, begins_S by auto. unfold B. repeat split; auto; lia.
    + split; [now apply next_range |]. right; right. rewrite prev_next by auto.
      unfold sends_output, receives_output, next in *. destruct (Nat.eqb_spec (S r) P) as [E | E];
        apply formed_spec in C;
        destruct C as [C F].
      * exists (n + P - 1). assert (X := Drained _ F). rewrite formed_spec.
        replace (n + P - 1 - (P + d - 1)) with (n - d) by lia.
        replace (n + P - 1 + 0) with (n + r) by lia. repeat split; auto; lia.
      * exists (n - 1). rewrite formed_spec. replace (n - 1 - (P + d - 1)) with (n - (P + d)) by lia.
        replace (n - 1 + S r) with (n + r) by lia. repeat split; auto; lia.
  - intros q r t k. rewrite in_serving_recv. unfold is_received, ServingTimes.serving_delay.
    intros [Hr [(n & Hn & C & -> & -> & ->) | [(n & Hn & C & F & -> & -> & ->) | (n & Hn & C & -> & -> & ->)]]];
      cbn [Nat.eqb REQUESTS PROXY OUTPUT].
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
  - intros r q t. unfold direct, ServingTimes.serving_delay, ServingTimes.serving_library, B, blocking_data,
      storing_output.
    destruct t as [| [| [| t]]]; destruct (Nat.eqb_spec D 0) as [Z | Z]; cbn; split; intros; easy || lia || auto.
  - intros r q t k k' ND. rewrite !in_serving_send. intros [Hr S1] [_ S2] LT.
    assert (Mono := fun i j => round_le (S i + r) (j + r)). cbn [Nat.add] in Mono.
    destruct S1 as [(n & _ & _ & _ & T & E) | [(n & _ & _ & _ & _ & T & E) | (n & _ & _ & _ & T & E)]],
      S2 as [(m & _ & _ & _ & T' & E') | [(m & _ & _ & _ & _ & T' & E') | (m & _ & _ & _ & T' & E')]];
      subst; try easy; unfold ServingTimes.serving_delay; cbn [Nat.eqb REQUESTS PROXY OUTPUT].
    + assert (X := begins_inv r n m 2 2 ltac:(lia) ltac:(lia) LT).
      destruct X as [X | ->]; [apply (begins_lt r) in X; unfold B in *; lia | lia].
    + destruct ND. unfold direct, ServingTimes.serving_library. now destruct (D =? 0).
    + destruct (Nat.lt_trichotomy n m) as [X | [-> | X]]; [| lia |].
      * specialize (Mono n m ltac:(lia)). rewrite round_S in Mono. assert (Y := Bound (n + r) r Hr).
        unfold ServingTimes.output_time, B in *. lia.
      * exfalso. specialize (Mono m n ltac:(lia)). rewrite round_S in Mono. assert (Y := Bound (m + r) r Hr).
        unfold ServingTimes.output_time, B in *. lia.
  - intros r q t k k'. rewrite in_serving_send. intros [Hr S1] W LT. apply in_serving_wait in W.
    destruct W as (m & Hm & W).
    destruct S1 as [(n & _ & C & _ & T & E) | [(n & _ & C & _ & _ & T & E) | (n & _ & _ & _ & T & E)]]; subst;
      unfold ServingTimes.serving_delay; cbn [Nat.eqb REQUESTS PROXY OUTPUT].
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
        unfold ServingTimes.output_time, begins in *. lia. }
      specialize (Mono' ltac:(lia)). unfold ServingTimes.output_time, begins, B in *. lia.
Qed.

Theorem serving_deadlock_free : deadlock_free serving serving_library.
Proof. exact (timetable_deadlock_free _ _ _ _ serving_timetable). Qed.

End ServingTimetable.
