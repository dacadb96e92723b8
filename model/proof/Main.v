(** * The theorems

    Every main theorem once more, in the order of the paper.  The numbers are
    those of the statements in the paper; README.md says each in words. *)

From Coq Require Import List Arith.
From Ringproof Require Import Semantics Determinism Checker Slack Circuit TimedLists Timetable Ring RingVerdicts
  Schedules Parallel Cost Period Livelock Serving ServingVerdicts
  ServingDeadlock ServingRequests.
Import ListNotations.

(** ** One schedule decides (1), and deadlock is a circuit *)

Theorem determinism p L n m u v :
  run p L n (start p) u -> stuck p L u -> run p L m (start p) v -> stuck p L v -> u = v /\ n = m.
Proof. apply one_schedule_decides. Qed.

Theorem termination p L n s : run p L n (start p) s -> n <= size p.
Proof. apply runs_are_finite. Qed.

Theorem deadlock_is_a_circuit p L : balanced p ->
  (deadlocks p L <-> exists s c, reachable p L s /\ circuit p L s c).
Proof. apply deadlock_iff_circuit. Qed.

(** Where no deadlock can be reached, every maximal run finishes. *)
Theorem deadlock_free_finishes p L n s :
  deadlock_free p L -> run p L n (start p) s -> stuck p L s -> finished p s.
Proof. apply free_terminates. Qed.

Theorem checker_is_right p L : (check p L = true <-> deadlock_free p L) /\ (check p L = false <-> deadlocks p L).
Proof. split; [apply check_correct | apply check_false]. Qed.

(** ** Slack (2) *)

Theorem slack_elasticity p L : deadlock_free p rendezvous -> deadlock_free p L.
Proof. apply slack_rendezvous. Qed.

Theorem slack_converse_fails P K k : 2 <= P -> 1 <= K ->
  deadlocks (ring (repeat SendFirst P) K) rendezvous /\ deadlock_free (ring (repeat SendFirst P) K) (bounded (S k)).
Proof.
  intros HP HK. split; [now apply send_first_deadlocks |].
  apply send_first_stored; auto. intros r d t. now unfold direct.
Qed.

(** ** Which ring orderings deadlock (3, 7) *)

Theorem ring_deadlocks_iff_uniform o K : 2 <= length o -> 1 <= K ->
  (deadlocks (ring o K) rendezvous <-> uniform o).
Proof. apply ring_characterisation. Qed.

(** Of the 2^P orderings (the list [all] has each of them once) exactly 2 deadlock. *)
Theorem two_of_all_orderings P K : 2 <= P -> 1 <= K ->
  (exists all : list ordering, NoDup all /\ length all = 2 ^ P /\ forall o, In o all <-> length o = P) /\
  (exists bad : list ordering, NoDup bad /\ length bad = 2 /\
     forall o, In o bad <-> length o = P /\ deadlocks (ring o K) rendezvous).
Proof. intros HP HK. split; [apply all_orderings_listed | now apply deadlocking_orderings_listed]. Qed.

Theorem parity_never P K L : 2 <= P -> deadlock_free (ring (parity P) K) L.
Proof. apply parity_deadlock_free. Qed.

Theorem send_first_always P K : 2 <= P -> 1 <= K -> deadlocks (ring (repeat SendFirst P) K) rendezvous.
Proof. apply send_first_deadlocks. Qed.

Theorem receive_first_always P K L : 2 <= P -> 1 <= K -> deadlocks (ring (repeat RecvFirst P) K) L.
Proof. apply receive_first_deadlocks. Qed.

Theorem ring_with_room o K L : 2 <= length o -> 1 <= K -> stores_one L ->
  (deadlocks (ring o K) L <-> o = repeat RecvFirst (length o)).
Proof. apply ring_stored_characterisation. Qed.

(** ** Parity is exactly optimal (6) *)

Theorem no_schedule_is_faster P K steps : 2 <= P -> schedule P K steps -> least_steps P K <= length steps.
Proof. apply schedule_lower_bound. Qed.

Theorem no_ordering_is_faster o K steps s : 2 <= length o ->
  parallel_run o K steps (start (ring o K)) s -> finished (ring o K) s ->
  least_steps (length o) K <= length steps.
Proof. apply ordering_lower_bound. Qed.

Theorem parity_is_optimal P K : 2 <= P -> exists steps s,
  parallel_run (parity P) K steps (start (ring (parity P) K)) s /\
  finished (ring (parity P) K) s /\ length steps = least_steps P K.
Proof. apply parity_attains. Qed.

(** So the bound is the least number of steps, and some schedule is as short. *)
Theorem bound_is_attained P K : 2 <= P -> exists steps, schedule P K steps /\ length steps = least_steps P K.
Proof.
  intros HP. destruct (parity_is_optimal P K HP) as (steps & s & R & F & E). exists steps. split; auto.
  rewrite <- (length_parity P) at 1. now apply (parallel_run_is_schedule _ _ _ s).
Qed.

(** ** The period of an ordering (5) *)

(** [K] rounds in [T] steps: K <= min(#S, #R) ceil(T / P), for every parallel run; and
    some parallel run of an ordering that is not uniform takes K P / min(#S, #R) + a constant. *)
Theorem period_at_least o K steps s : 2 <= length o ->
  parallel_run o K steps (start (ring o K)) s -> finished (ring o K) s ->
  K <= Nat.min (how_many SendFirst o) (how_many RecvFirst o) * ceil_div (length steps) (length o).
Proof. intros. now apply (period_lower o K) with s. Qed.

Theorem period_at_most o K : 2 <= length o -> ~ uniform o -> exists steps s,
  parallel_run o K steps (start (ring o K)) s /\ finished (ring o K) s /\
  length steps = (2 * (length o * length o) + K * length o)
                 / Nat.min (how_many SendFirst o) (how_many RecvFirst o) + 1.
Proof. intros. now apply period_upper. Qed.

(** ** The serving loop (8) *)

Theorem serving_parity P d b N L : 2 <= P -> drained P d b N -> at_least blocking_data L ->
  deadlock_free (serving P d (parity P) b N) L.
Proof. apply serving_parity_free. Qed.

Theorem serving_blocking_isend P d o b N L :
  2 <= P -> length o = P -> drained P d b N -> at_least blocking_data L -> (forall r q, direct L r q OUTPUT) ->
  (deadlocks (serving P d o b N) L <-> uniform o /\ exists m, consecutive P b m).
Proof. apply serving_blocking. Qed.

Theorem serving_asynchronous_isend P d o b N L :
  2 <= P -> length o = P -> drained P d b N -> at_least storing_output L ->
  (deadlocks (serving P d o b N) L <-> o = repeat RecvFirst P /\ exists m, consecutive P b m).
Proof. apply serving_storing. Qed.

(** So the order of the blocking loop, in which only the last rank sends first, never deadlocks either. *)
Theorem serving_last_sends_first P d b N L : 2 <= P -> drained P d b N -> at_least blocking_data L ->
  deadlock_free (serving P d (last_sends_first P) b N) L.
Proof. apply serving_last_sends_first_free. Qed.

(** The same for the loop of a finite presence pattern, which drains by itself. *)
Theorem serving_parity_unrolled P d present L : 2 <= P -> at_least blocking_data L ->
  deadlock_free (unroll P d (parity P) present) L.
Proof. intros HP HL. apply serving_parity_free; auto. apply unroll_drains. Qed.

Theorem serving_send_first_unrolled P d present L :
  2 <= P -> at_least blocking_data L -> (forall r q, direct L r q OUTPUT) ->
  (deadlocks (unroll P d (repeat SendFirst P) present) L <-> exists m, consecutive P (pattern present) m).
Proof.
  intros HP HL HD. unfold unroll. rewrite serving_blocking; auto using repeat_length, unroll_drains.
  split; [now intros [_ H] | intros H]. split; auto. exists SendFirst. now rewrite repeat_length.
Qed.

(** The requests must not block: else one batch is a deadlock under every ordering. *)
Theorem serving_blocking_requests P d o b N L :
  2 <= P -> drained P d b N -> (exists m, b m = true) -> direct L 0 1 REQUESTS ->
  deadlocks (serving P d o b N) L.
Proof. intros P2 Dr [m M]. now apply (blocking_requests_deadlock P d o b N P2 m L Dr M). Qed.

(** ** Orders from one key (9) *)

(** Each rank does its sends and receives in the order of a key that both ends
    of a message know: no deadlock. *)
Theorem orders_from_one_key p (keyed : nat -> timed) :
  (forall r, code p r = map snd (keyed r)) -> (forall r, ranks p <= r -> keyed r = []) ->
  (forall r, increasing (keyed r)) ->
  (forall r d t k, In (k, Send d t) (keyed r) <-> In (k, Recv r t) (keyed d)) ->
  deadlock_free p rendezvous.
Proof.
  intros C Out Inc Both. apply (timetable_deadlock_free p rendezvous keyed (fun _ _ _ => 0)).
  split; auto.
  - intros r d t k. rewrite Nat.add_0_r. apply Both.
  - intros r d t k I. exists k. split; [auto | now apply Both].
  - intros r d t. now split.
  - intros r d t k k' N. now destruct N.
  - intros. now rewrite Nat.add_0_r.
Qed.

(** ** Livelock is deadlock (12) *)

Theorem livelock_is_deadlock p L s :
  (exists b, reaches p L (polling_start p) (s, b) /\ livelock p L (s, b)) <->
  (reachable p L s /\ deadlock p L s).
Proof. apply livelock_iff_deadlock. Qed.

(** State by state, and the two models reach the same positions. *)
Theorem no_progress_is_deadlock p L :
  (forall s, reachable p L s <-> exists b, reaches p L (polling_start p) (s, b)) /\
  (forall x, without_progress p L x <-> deadlock p L (fst x)).
Proof.
  split; [| apply without_progress_iff_deadlock].
  intros s. split; [apply polling_complete | intros [b R]; now apply polling_sound in R].
Qed.
