(** Prints every main theorem with what it assumes. *)
From Coq Require Import List.
From Ringproof Require Import Semantics Determinism Checker Slack Circuit TimedLists Timetable Ring RingVerdicts
  Schedules Parallel Cost Period Livelock Serving ServingVerdicts Main.
Set Printing Width 110.

Check determinism.
Print Assumptions determinism.
Check termination.
Print Assumptions termination.
Check deadlock_is_a_circuit.
Print Assumptions deadlock_is_a_circuit.
Check deadlock_free_finishes.
Print Assumptions deadlock_free_finishes.
Check checker_is_right.
Print Assumptions checker_is_right.
Check slack_elasticity.
Print Assumptions slack_elasticity.
Check slack_converse_fails.
Print Assumptions slack_converse_fails.
Check ring_deadlocks_iff_uniform.
Print Assumptions ring_deadlocks_iff_uniform.
Check two_of_all_orderings.
Print Assumptions two_of_all_orderings.
Check parity_never.
Print Assumptions parity_never.
Check send_first_always.
Print Assumptions send_first_always.
Check receive_first_always.
Print Assumptions receive_first_always.
Check ring_with_room.
Print Assumptions ring_with_room.
Check no_schedule_is_faster.
Print Assumptions no_schedule_is_faster.
Check no_ordering_is_faster.
Print Assumptions no_ordering_is_faster.
Check parity_is_optimal.
Print Assumptions parity_is_optimal.
Check bound_is_attained.
Print Assumptions bound_is_attained.
Check period_at_least.
Print Assumptions period_at_least.
Check period_at_most.
Print Assumptions period_at_most.
Check serving_parity.
Print Assumptions serving_parity.
Check serving_blocking_isend.
Print Assumptions serving_blocking_isend.
Check serving_asynchronous_isend.
Print Assumptions serving_asynchronous_isend.
Check serving_last_sends_first.
Print Assumptions serving_last_sends_first.
Check serving_parity_unrolled.
Print Assumptions serving_parity_unrolled.
Check serving_send_first_unrolled.
Print Assumptions serving_send_first_unrolled.
Check serving_blocking_requests.
Print Assumptions serving_blocking_requests.
Check orders_from_one_key.
Print Assumptions orders_from_one_key.
Check livelock_is_deadlock.
Print Assumptions livelock_is_deadlock.
Check no_progress_is_deadlock.
Print Assumptions no_progress_is_deadlock.
