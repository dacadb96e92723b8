(** * Premises that can be met

    A theorem with a premise that nothing meets says nothing.  Here each premise
    in [Main.v] that is more than a bound on P and K is met: by rings, by the
    serving loop at work, by the libraries in question; and where a theorem says
    "iff", both answers occur. *)

From Coq Require Import List Arith Lia.
From Ringproof Require Import Semantics Slack Circuit TimedLists Timetable Ring RingVerdicts Serving ServingVerdicts Main.
Import ListNotations.

(** ** [balanced], for [deadlock_is_a_circuit]: every ring is *)
Lemma count_rounds x l (a b : op) start K :
  count x (flat_map (fun _ : nat => halves l a b) (seq start K)) = K * (count x [a] + count x [b]).
Proof.
  revert start; induction K as [| K IH]; intros start; auto. cbn [seq flat_map]. rewrite count_app, IH.
  assert (E : count x (halves l a b) = count x [a] + count x [b]); [| lia].
  destruct l; cbn [halves]; [change [a; b] with ([a] ++ [b]) | change [b; a] with ([b] ++ [a])];
    rewrite count_app; lia.
Qed.

Lemma count_ring x o K r : count x (code (ring o K) r) =
  if r <? length o then K * (count x [Send (next (length o) r) 0] + count x [Recv (prev (length o) r) 0]) else 0.
Proof. cbn [ring code]. destruct (r <? length o); [apply count_rounds | reflexivity]. Qed.

Theorem rings_are_balanced o K : 2 <= length o -> balanced (ring o K).
Proof.
  intros P2. split.
  - intros r d t. rewrite !count_ring, !count_one.
    destruct (op_eq_dec (Recv _ 0) (Send d t)) as [| _]; [easy |].
    destruct (op_eq_dec (Send _ 0) (Recv r t)) as [| _]; [easy |].
    destruct (op_eq_dec (Send (next (length o) r) 0) (Send d t)) as [E | E];
      destruct (op_eq_dec (Recv (prev (length o) d) 0) (Recv r t)) as [F | F];
      destruct (Nat.ltb_spec r (length o)) as [R | R], (Nat.ltb_spec d (length o)) as [D | D]; try lia; exfalso.
    + injection E as <- _. assert (X := next_range (length o) r R). lia.
    + injection F as <- _. assert (X := prev_range (length o) d D). lia.
    + injection E as <- <-. apply F. now rewrite prev_next.
    + injection E as <- _. assert (X := next_range (length o) r R). lia.
    + injection F as <- <-. apply E. now rewrite next_prev.
    + injection F as <- _. assert (X := prev_range (length o) d D). lia.
  - intros r H. cbn [ring code ranks] in *. apply Nat.ltb_ge in H. now rewrite H.
Qed.

(** ** The keys of [orders_from_one_key]: every ring that is not uniform has some *)
Theorem rings_have_one_key o K : 2 <= length o -> ~ uniform o -> exists keyed : nat -> timed,
  (forall r, code (ring o K) r = map snd (keyed r)) /\ (forall r, ranks (ring o K) <= r -> keyed r = []) /\
  (forall r, increasing (keyed r)) /\
  (forall r d t k, In (k, Send d t) (keyed r) <-> In (k, Recv r t) (keyed d)).
Proof.
  intros P2 N. exists (timed_ring o K 0 (potential_time o)).
  assert (T : timetable (ring o K) rendezvous (timed_ring o K 0 (potential_time o)) (every_delay 0)).
  { apply ring_timetable; auto; [now apply potential_in_order | intros r d t; now split]. }
  destruct T as [C Out Inc There Back _ _ _]. unfold every_delay in *. repeat split; auto.
  - intros I. apply There in I. now rewrite Nat.add_0_r in I.
  - intros I. apply Back in I. destruct I as (k' & -> & I). now rewrite Nat.add_0_r.
Qed.

(** ** Libraries *)
Theorem bounded_stores_one k : stores_one (bounded (S k)).
Proof. intros r d t. now unfold direct. Qed.

Theorem eager_stores_one : stores_one eager.
Proof. intros r d t. now unfold direct. Qed.

(** The case of XCCL meets [serving_blocking_isend]; gloo meets [serving_asynchronous_isend]. *)
Theorem xccl_blocks_data :
  at_least blocking_data posting_requests /\ forall r q, direct posting_requests r q OUTPUT.
Proof.
  split; [| reflexivity]. intros r d t. unfold blocking_data, posting_requests. cbn.
  destruct (t =? REQUESTS); cbn; auto.
Qed.

Theorem gloo_stores_output : at_least storing_output posting.
Proof.
  intros r d t. unfold storing_output, posting. cbn. destruct ((t =? REQUESTS) || (t =? OUTPUT))%bool; cbn; auto.
Qed.

(** ** The serving loop under load: [drained] and [consecutive], and both verdicts *)
Lemma full_load P : consecutive P (pattern (repeat true P)) 0.
Proof.
  intros i H. unfold pattern. cbn. rewrite nth_indep with (d' := true) by now rewrite repeat_length. apply nth_repeat.
Qed.

Theorem full_load_deadlocks P d : 2 <= P -> deadlocks (unroll P d (repeat SendFirst P) (repeat true P)) posting_requests.
Proof.
  intros P2. destruct xccl_blocks_data as [A D]. rewrite serving_send_first_unrolled by auto.
  exists 0. apply full_load.
Qed.

Theorem one_batch_passes P d : 2 <= P -> ~ deadlocks (unroll P d (repeat SendFirst P) [true]) posting_requests.
Proof.
  intros P2. destruct xccl_blocks_data as [A D]. rewrite serving_send_first_unrolled by auto.
  intros [m C]. specialize (C 1 ltac:(lia)). unfold pattern in C.
  replace (m + 1) with (S m) in C by lia. cbn in C. now destruct m.
Qed.

(** With every send a rendezvous, the requests too, that one batch is a deadlock, parity or not. *)
Theorem one_batch_needs_requests P d : 2 <= P -> deadlocks (unroll P d (parity P) [true]) rendezvous.
Proof.
  intros P2. apply serving_blocking_requests; auto; [apply unroll_drains | now exists 0 | reflexivity].
Qed.
