(** * When the serving loop deadlocks, and the final characterisation

    If P consecutive iterations carry a batch, there is a round in which all P
    output transfers take place.  If all ranks send first and a send blocks,
    or if all receive first, no rank ever gets past its output phase of that
    round. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Slack Circuit TimedLists Timetable Ring Walls RingVerdicts
  Serving ServingClock ServingTimes ServingTimetable ServingVerdicts.
Import ListNotations.

(** ** The output phase of a full round *)
Section Full.
Variables (P d : nat) (o : ordering) (b : nat -> bool) (N : nat).
Notation sends_output := (sends_output P d b).
Notation receives_output := (receives_output P d b).
Notation iteration := (iteration P d o b).
Notation before_output := (before_output P d b).
Notation after_output := (after_output P d b).

(** What a rank does before the output phase of its iteration [n]. *)
Definition before r n := keep (flat_map (iteration r) (seq 0 n) ++ before_output r n).

Lemma serving_split r n : r < P -> n < N -> exists post,
  code (serving P d o b N) r = before r n ++ keep (output_phase P d o b r n) ++ post.
Proof.
  intros Hr Hn. cbn [code serving]. apply Nat.ltb_lt in Hr. rewrite Hr. unfold before.
  replace N with (n + S (N - n - 1)) by lia. rewrite seq_app. cbn [seq].
  rewrite flat_map_app. cbn [flat_map Nat.add]. unfold iteration at 2.
  eexists. rewrite !keep_app, <- !app_assoc. reflexivity.
Qed.

Lemma count_none x l : ~ In (true, x) l -> count x (keep l) = 0.
Proof. intros H. apply count_occ_not_In. now rewrite in_keep. Qed.

Lemma count_keep_app x l l' : count x (keep (l ++ l')) = count x (keep l) + count x (keep l').
Proof. rewrite keep_app. apply count_app. Qed.

Definition is_output x := exists q, x = Send q OUTPUT \/ x = Recv q OUTPUT.

Lemma no_output_before x r n : is_output x -> count x (keep (before_output r n)) = 0.
Proof.
  intros (q & O). apply count_none. unfold before_output, Serving.before_output. cbn [In].
  destruct O as [-> | ->]; intros I; repeat (destruct I as [I | I]; [discriminate I |]); easy.
Qed.

Lemma no_output_after x r n : is_output x -> count x (keep (after_output r n)) = 0.
Proof.
  intros (q & O). apply count_none. unfold after_output, Serving.after_output. cbn [In].
  destruct O as [-> | ->]; intros I; repeat (destruct I as [I | I]; [discriminate I |]); easy.
Qed.

Lemma count_phase r n (x : op) : count x (keep (output_phase P d o b r n)) =
  (if sends_output r n then count x [Send (next P r) OUTPUT] else 0) +
  (if receives_output n then count x [Recv (prev P r) OUTPUT] else 0).
Proof.
  unfold output_phase. destruct (letter_of o r); cbn [halves]; unfold keep; cbn [flat_map fst snd];
    destruct (sends_output r n), (receives_output n); rewrite ?count_app, ?app_nil_r; cbn [app];
    rewrite ?(count_app x [_] [_]); unfold count; cbn [count_occ]; lia.
Qed.

Lemma count_before_phase x r n : is_output x -> count x (before r n) =
  length (filter (sends_output r) (seq 0 n)) * count x [Send (next P r) OUTPUT] +
  length (filter receives_output (seq 0 n)) * count x [Recv (prev P r) OUTPUT].
Proof.
  intros O. unfold before. rewrite count_keep_app, no_output_before by auto.
  induction (seq 0 n) as [| i l IH]; [reflexivity |]. cbn [flat_map]. unfold iteration at 1.
  rewrite !count_keep_app, no_output_before, no_output_after, count_phase by auto. cbn [filter].
  destruct (sends_output r i), (receives_output i); cbn [length]; lia.
Qed.

Lemma count_sends r n : count (Send (next P r) OUTPUT) (before r n) = length (filter (sends_output r) (seq 0 n)).
Proof.
  rewrite count_before_phase by (exists (next P r); auto). rewrite !count_one.
  destruct (op_eq_dec (Send (next P r) OUTPUT) (Send (next P r) OUTPUT)),
    (op_eq_dec (Recv (prev P r) OUTPUT) (Send (next P r) OUTPUT)); easy || lia.
Qed.

Lemma count_receives r n : count (Recv (prev P r) OUTPUT) (before r n) = length (filter receives_output (seq 0 n)).
Proof.
  rewrite count_before_phase by (exists (prev P r); auto). rewrite !count_one.
  destruct (op_eq_dec (Recv (prev P r) OUTPUT) (Recv (prev P r) OUTPUT)),
    (op_eq_dec (Send (next P r) OUTPUT) (Recv (prev P r) OUTPUT)); easy || lia.
Qed.

(** Batches formed [k] iterations ago, counted over [n] iterations. *)
Lemma formed_total k n : length (filter (formed b k) (seq 0 n)) = length (filter b (seq 0 (n - k))).
Proof.
  induction n as [| n IH]; auto. rewrite seq_S, filter_app, app_length, IH. cbn [filter Nat.add].
  unfold formed. destruct (Nat.leb_spec k n) as [G | G]; cbn [andb].
  - replace (S n - k) with (S (n - k)) by lia. rewrite seq_S, filter_app, app_length. cbn [filter Nat.add].
    destruct (b (n - k)); cbn; lia.
  - replace (S n - k) with (n - k) by lia. cbn. lia.
Qed.

Hypothesis P2 : 2 <= P.
Variables (m : nat).
Hypothesis Drained : drained P d b N.
Hypothesis Full : consecutive P b m.

(** The full round, and the iteration in which each rank reaches it. *)
Definition full_round := m + (P + d) + (P - 2).
Definition reached r := full_round - r.

Lemma reached_range r : r < P -> reached r < N.
Proof.
  intros Hr. assert (X := Drained _ (Full (P - 2) ltac:(lia))). unfold reached, full_round. lia.
Qed.

Lemma all_send r : r < P -> sends_output r (reached r) = true.
Proof.
  intros Hr. unfold sends_output, Serving.sends_output, reached, full_round.
  destruct (Nat.eqb_spec (S r) P) as [E | E]; apply formed_spec; (split; [lia |]).
  - replace (m + (P + d) + (P - 2) - r - d) with (m + (P - 1)) by lia. apply Full. lia.
  - replace (m + (P + d) + (P - 2) - r - (P + d)) with (m + (P - 2 - r)) by lia. apply Full. lia.
Qed.

Lemma all_receive r : r < P -> receives_output (reached r) = true.
Proof.
  intros Hr. unfold receives_output, Serving.receives_output, reached, full_round.
  apply formed_spec. split; [lia |].
  replace (m + (P + d) + (P - 2) - r - (P + d - 1)) with (m + (P - 1 - r)) by lia. apply Full. lia.
Qed.

(** As many outputs were sent on each edge before the full round as were received. *)
Lemma matched_before r : r < P -> count (Send (next P r) OUTPUT) (before r (reached r)) =
  count (Recv r OUTPUT) (before (next P r) (reached (next P r))).
Proof.
  intros Hr. rewrite count_sends. rewrite <- (prev_next P r Hr) at 3. rewrite count_receives.
  unfold sends_output, Serving.sends_output, receives_output, Serving.receives_output, next, reached, full_round.
  destruct (Nat.eqb_spec (S r) P) as [E | E]; rewrite !formed_total; do 3 f_equal; lia.
Qed.

Theorem full_round_send_first L : (forall r, r < P -> letter_of o r = SendFirst) ->
  (forall r q, direct L r q OUTPUT) -> deadlocks (serving P d o b N) L.
Proof.
  intros O D. apply (send_wall_deadlocks _ L OUTPUT (fun r => before r (reached r))); cbn [ranks serving]; auto.
  - intros r Hr. destruct (serving_split r (reached r) Hr (reached_range r Hr)) as [post E].
    eexists. rewrite E. unfold output_phase. rewrite O, all_send, all_receive by auto. reflexivity.
  - exact matched_before.
Qed.

Theorem full_round_receive_first L : (forall r, r < P -> letter_of o r = RecvFirst) ->
  deadlocks (serving P d o b N) L.
Proof.
  intros O. apply (receive_wall_deadlocks _ L OUTPUT (fun r => before r (reached r))); cbn [ranks serving]; auto.
  - intros r Hr. destruct (serving_split r (reached r) Hr (reached_range r Hr)) as [post E].
    eexists. rewrite E. unfold output_phase. rewrite O, all_send, all_receive by auto. reflexivity.
  - intros r Hr. assert (X := matched_before _ (prev_range P r Hr)). rewrite next_prev in X by auto. auto.
Qed.
End Full.

(** *** The characterisation (statement 8) *)
Lemma consecutive_dec P d b N : drained P d b N ->
  (exists m, consecutive P b m) \/ (forall m, ~ consecutive P b m) \/ P = 0.
Proof.
  intros Dr. destruct (Nat.eq_dec P 0) as [Z | Z]; [auto |].
  destruct (Exists_dec (consecutive P b) (seq 0 N)) as [X | X].
  - intros m. unfold consecutive. destruct (forallb (fun i => b (m + i)) (seq 0 P)) eqn:E.
    + left. intros i Hi. rewrite forallb_forall in E. apply E, in_seq. lia.
    + right. intros F. rewrite <- not_true_iff_false, forallb_forall in E. apply E.
      intros i Hi. apply in_seq in Hi. apply F. lia.
  - left. apply Exists_exists in X. destruct X as (m & _ & X). eauto.
  - right; left. intros m C. apply X, Exists_exists. exists m. split; auto. apply in_seq.
    assert (Y := Dr _ (C 0 ltac:(lia))). lia.
Qed.

(** Outputs sent by a blocking isend. *)
Theorem serving_blocking P d o b N L :
  2 <= P -> length o = P -> drained P d b N -> at_least blocking_data L -> (forall r q, direct L r q OUTPUT) ->
  (deadlocks (serving P d o b N) L <-> uniform o /\ exists m, consecutive P b m).
Proof.
  intros P2 E Dr HL D. split.
  - intros H. apply deadlocks_iff_not_free in H. split.
    + destruct (list_eq_dec letter_eq_dec o (repeat SendFirst P)) as [U | N1]; [exists SendFirst; now rewrite E |].
      destruct (list_eq_dec letter_eq_dec o (repeat RecvFirst P)) as [U | N2]; [exists RecvFirst; now rewrite E |].
      exfalso. apply H, serving_nonuniform_free; auto. intros [[|] U]; rewrite E in U; auto.
    + destruct (consecutive_dec P d b N Dr) as [X | [X | X]]; [auto | | lia].
      exfalso. apply H, serving_gaps_free; auto.
  - intros [[l U] [m C]]. destruct l.
    + apply (full_round_send_first P d o b N P2 m Dr C L); auto.
      intros r Hr. rewrite U. apply letter_of_repeat. lia.
    + apply (full_round_receive_first P d o b N P2 m Dr C L); auto.
      intros r Hr. rewrite U. apply letter_of_repeat. lia.
Qed.

(** Outputs sent by an asynchronous isend. *)
Theorem serving_storing P d o b N L :
  2 <= P -> length o = P -> drained P d b N -> at_least storing_output L ->
  (deadlocks (serving P d o b N) L <-> o = repeat RecvFirst P /\ exists m, consecutive P b m).
Proof.
  intros P2 E Dr HL.
  assert (HB : at_least blocking_data L).
  { intros r q t. destruct (HL r q t) as [A B]. revert A B. cbn. destruct (t =? REQUESTS), (t =? OUTPUT); cbn; auto.
    intros A B. split; auto. destruct (room L r q t); auto. lia. }
  split.
  - intros H. apply deadlocks_iff_not_free in H. split.
    + destruct (list_eq_dec letter_eq_dec o (repeat RecvFirst P)) as [U | N2]; auto.
      exfalso. apply H. destruct (list_eq_dec letter_eq_dec o (repeat SendFirst P)) as [-> | N1].
      * now apply serving_send_first_stored.
      * apply serving_nonuniform_free; auto. intros [[|] U]; rewrite E in U; auto.
    + destruct (consecutive_dec P d b N Dr) as [X | [X | X]]; [auto | | lia].
      exfalso. apply H, serving_gaps_free; auto.
  - intros [-> [m C]]. apply (full_round_receive_first P d _ b N P2 m Dr C L).
    intros r Hr. now apply letter_of_repeat.
Qed.

(** Parity never deadlocks: every P, depth, presence pattern, and every library
    in which the requests are asynchronous. *)
Corollary serving_parity_free P d b N L : 2 <= P -> drained P d b N -> at_least blocking_data L ->
  deadlock_free (serving P d (parity P) b N) L.
Proof.
  intros P2 Dr HL. apply serving_nonuniform_free; auto; [apply length_parity | now apply parity_not_uniform].
Qed.

Definition last_sends_first P : ordering := map (fun r => if S r =? P then SendFirst else RecvFirst) (seq 0 P).

Corollary serving_last_sends_first_free P d b N L : 2 <= P -> drained P d b N -> at_least blocking_data L ->
  deadlock_free (serving P d (last_sends_first P) b N) L.
Proof.
  intros P2 Dr HL. assert (Len : length (last_sends_first P) = P) 
    by (unfold last_sends_first; now rewrite map_length, seq_length).
  apply serving_nonuniform_free; auto. intros [l U]. rewrite Len in U.
  assert (A : forall r, r < P -> letter_of (last_sends_first P) r = if S r =? P then SendFirst else RecvFirst).
  { intros r Hr. unfold letter_of, last_sends_first. set (f := fun r => if S r =? P then SendFirst else RecvFirst).
    rewrite (nth_indep _ SendFirst (f 0)) by now rewrite map_length, seq_length. rewrite (map_nth f), seq_nth; auto. }
  assert (X := A 0 ltac:(lia)). assert (Y := A (P - 1) ltac:(lia)).
  rewrite U, letter_of_repeat in X, Y by lia.
  replace (S (P - 1) =? P) with true in Y by (symmetry; apply Nat.eqb_eq; lia).
  replace (1 =? P) with false in X by (symmetry; apply Nat.eqb_neq; lia). congruence.
Qed.
