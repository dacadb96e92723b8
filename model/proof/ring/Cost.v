(** * Parity is exactly optimal

    Timetables for parity whose last time meets the lower bound.  For P = 2m
    the times of one edge alternate; for P = 2m + 1 the potential of the
    ordering, divided by m and rounded down, is a timetable: 2m + 1 units per
    round, m units per step. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Slack TimedLists Timetable Ring RingVerdicts Schedules
  Parallel.
Import ListNotations.

(** ** Even rings *)
Definition even_time e n := 2 * n + (if Nat.even e then 0 else 1).

Lemma even_or_odd r : (exists j, r = 2 * j /\ Nat.even r = true) \/ (exists j, r = 2 * j + 1 /\ Nat.even r = false).
Proof.
  destruct (Nat.even r) eqn:E.
  - left. assert (F := E). apply Nat.even_spec in F. destruct F as [j F]. eauto.
  - right. assert (F : Nat.odd r = true) by (unfold Nat.odd; now rewrite E).
    apply Nat.odd_spec in F. destruct F as [j F]. eauto.
Qed.

Lemma even_2 j : Nat.even (2 * j) = true.
Proof. apply Nat.even_spec. now exists j. Qed.

Lemma even_2_1 j : Nat.even (2 * j + 1) = false.
Proof. rewrite Nat.even_add, even_2. reflexivity. Qed.

Lemma prev_even P j : 0 < P -> Nat.even P = true -> Nat.even (prev P (2 * j)) = false.
Proof.
  intros HP E. apply Nat.even_spec in E. destruct E as [m ->]. unfold prev.
  destruct (Nat.eqb_spec (2 * j) 0) as [Z | Z].
  - replace (2 * m - 1) with (2 * (m - 1) + 1) by lia. apply even_2_1.
  - replace (2 * j - 1) with (2 * (j - 1) + 1) by lia. apply even_2_1.
Qed.

Lemma prev_odd P j : prev P (2 * j + 1) = 2 * j.
Proof. unfold prev. destruct (Nat.eqb_spec (2 * j + 1) 0); lia. Qed.

Lemma even_in_order P : 2 <= P -> Nat.even P = true -> in_order (parity P) 0 even_time.
Proof.
  intros HP E r n. rewrite length_parity. intros Hr. rewrite letter_of_parity by auto.
  unfold even_time. destruct (even_or_odd r) as [(j & -> & F) | (j & -> & F)]; rewrite F.
  - rewrite prev_even; auto; lia.
  - rewrite prev_odd, even_2. lia.
Qed.

(** ** Odd rings, P = 2m + 1 *)
Definition odd_potential m e := if Nat.even e then Nat.div2 e else Nat.div2 e + m + 1.

Definition odd_time m e n := (odd_potential m e + n * (2 * m + 1)) / m.

Lemma odd_potential_even m j : odd_potential m (2 * j) = j.
Proof. unfold odd_potential. now rewrite even_2, Nat.div2_double. Qed.

Lemma odd_potential_odd m j : odd_potential m (2 * j + 1) = j + m + 1.
Proof. unfold odd_potential. rewrite even_2_1, Nat.div2_div. replace (2 * j + 1) with (1 + j * 2) by lia.
  rewrite Nat.div_add by lia. cbn. lia. Qed.

(** [m] units later is at least one step later. *)
Lemma later m a b : 0 < m -> a + m <= b -> a / m < b / m.
Proof.
  intros Hm H. apply Nat.lt_le_trans with ((a + 1 * m) / m).
  - rewrite Nat.div_add by lia. lia.
  - apply Nat.div_le_mono; lia.
Qed.

Lemma odd_in_order m : 1 <= m -> in_order (parity (2 * m + 1)) 0 (odd_time m).
Proof.
  intros Hm r n. rewrite length_parity. intros Hr. rewrite letter_of_parity by auto. cbn zeta.
  rewrite !Nat.add_0_r. unfold odd_time.
  destruct (even_or_odd r) as [(j & -> & F) | (j & -> & F)]; rewrite F.
  - rewrite odd_potential_even.
    assert (G : odd_potential m (prev (2 * m + 1) (2 * j)) = j + m).
    { unfold prev. destruct (Nat.eqb_spec (2 * j) 0) as [Z | Z].
      - replace (2 * m + 1 - 1) with (2 * m) by lia. rewrite odd_potential_even. lia.
      - replace (2 * j - 1) with (2 * (j - 1) + 1) by lia. rewrite odd_potential_odd. lia. }
    rewrite G. split; apply later; lia.
  - rewrite prev_odd, odd_potential_even, odd_potential_odd. split; apply later; lia.
Qed.

Lemma odd_potential_bound m e : e < 2 * m + 1 -> odd_potential m e <= 2 * m.
Proof.
  intros H. destruct (even_or_odd e) as [(j & -> & _) | (j & -> & _)].
  - rewrite odd_potential_even. lia.
  - rewrite odd_potential_odd. lia.
Qed.

Lemma odd_time_bound m K e n : 1 <= m -> e < 2 * m + 1 -> n < K ->
  odd_time m e n < 2 * K + ceil_div (2 * K) (2 * m).
Proof.
  intros Hm He Hn. apply odd_potential_bound in He. unfold odd_time, ceil_div.
  set (c := (2 * K + 2 * m - 1) / (2 * m)).
  assert (C : K <= m * c).
  { assert (D := Nat.mul_succ_div_gt (2 * K + 2 * m - 1) (2 * m) ltac:(lia)). fold c in D. nia. }
  apply Nat.div_lt_upper_bound; [lia |]. nia.
Qed.

(** *** Parity attains the lower bound *)
Theorem parity_attains P K : 2 <= P -> exists steps s,
  parallel_run (parity P) K steps (start (ring (parity P) K)) s /\
  finished (ring (parity P) K) s /\ length steps = least_steps P K.
Proof.
  intros HP. unfold least_steps. destruct (even_or_odd P) as [(m & -> & E) | (m & -> & E)]; rewrite E.
  - apply (greedy_makespan (parity (2 * m)) K even_time).
    + now rewrite length_parity.
    + now apply even_in_order.
    + intros e n _ Hn. unfold even_time. destruct (Nat.even e); lia.
  - apply (greedy_makespan (parity (2 * m + 1)) K (odd_time m)).
    + now rewrite length_parity.
    + apply odd_in_order. lia.
    + intros e n He Hn. rewrite length_parity in He. replace (2 * m + 1 - 1) with (2 * m) by lia.
      apply odd_time_bound; auto. lia.
Qed.

(** No ordering, and no schedule of any other kind, needs fewer steps. *)
Theorem ordering_lower_bound o K steps s : 2 <= length o ->
  parallel_run o K steps (start (ring o K)) s -> finished (ring o K) s ->
  least_steps (length o) K <= length steps.
Proof.
  intros HP R F. apply schedule_lower_bound; auto. eapply parallel_run_is_schedule; eauto.
Qed.

Corollary parity_optimal P K : 2 <= P ->
  (exists steps s, parallel_run (parity P) K steps (start (ring (parity P) K)) s /\
     finished (ring (parity P) K) s /\ length steps = least_steps P K) /\
  (forall steps, schedule P K steps -> least_steps P K <= length steps).
Proof.
  intros HP. split; [now apply parity_attains |]. intros. now apply schedule_lower_bound.
Qed.
