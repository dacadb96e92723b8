(** * Why the requests must be asynchronous

    If the request sends block as well, no ordering of the output phase helps:
    a single batch is enough for a deadlock.  Rank 0 cannot send the requests
    of the iteration in which it passes an output on before rank 1 reaches that
    iteration; rank 1 waits for that output in the iteration before. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Slack Circuit TimedLists Timetable Ring Walls RingVerdicts
  Serving ServingClock ServingTimes ServingTimetable ServingDeadlock.
Import ListNotations.

Section Requests.
Variables (P d : nat) (o : ordering) (b : nat -> bool) (N : nat).
Hypothesis P2 : 2 <= P.
Notation slots := (P + d).
Notation serving := (serving P d o b N).
Notation iteration := (iteration P d o b).
Notation before := (before P d o b).
Notation sends_output := (sends_output P d b).
Notation receives_output := (receives_output P d b).

Lemma count_keep_cons x (g : bool * op) l : count x (keep (g :: l)) =
  (if fst g then if op_eq_dec (snd g) x then 1 else 0 else 0) + count x (keep l).
Proof. unfold keep. cbn [flat_map]. rewrite count_app. now destruct (fst g). Qed.

Lemma count_keep_nil x : count x (keep []) = 0.
Proof. reflexivity. Qed.

Ltac count_entries :=
  rewrite ?count_keep_cons, ?count_keep_nil, ?count_one; cbn [fst snd];
  repeat match goal with |- context [op_eq_dec ?a ?b] =>
    let H := fresh in
    destruct (op_eq_dec a b) as [H | H]; [try discriminate H | try now destruct H]; clear H end.

(** Requests go from rank 0 to rank 1 once in each iteration. *)
Lemma requests_sent n : count (Send 1 REQUESTS) (keep (flat_map (iteration 0) (seq 0 n))) = n.
Proof.
  rewrite <- (seq_length n 0) at 2. induction (seq 0 n) as [| i l IH]; [reflexivity |]. cbn [flat_map length].
  unfold Serving.iteration at 1. rewrite !count_keep_app, IH, count_phase.
  unfold before_output, after_output. count_entries.
  replace (1 <? P) with true by (symmetry; apply Nat.ltb_lt; lia).
  repeat match goal with |- context [if ?c then 0 else 0] => destruct c end; lia.
Qed.

Lemma requests_received n : count (Recv 0 REQUESTS) (keep (flat_map (iteration 1) (seq 0 n))) = n.
Proof.
  rewrite <- (seq_length n 0) at 2. induction (seq 0 n) as [| i l IH]; [reflexivity |]. cbn [flat_map length].
  unfold Serving.iteration at 1. rewrite !count_keep_app, IH, count_phase.
  unfold before_output, after_output. count_entries.
  repeat match goal with |- context [if ?c then 0 else 0] => destruct c end; cbn; lia.
Qed.

Variables (m : nat) (L : library).
Hypothesis Drained : drained P d b N.
Hypothesis Batch : b m = true.

(** Rank 0 passes the batch on in iteration [n]; rank 1 receives it one iteration earlier. *)
Let n := m + slots.

Definition up_to_requests := keep (flat_map (iteration 0) (seq 0 n) ++ firstn 2 (before_output P d b 0 n)).
Definition up_to_output :=
  before 1 (n - 1) ++ match letter_of o 1 with
                      | SendFirst => keep [(sends_output 1 (n - 1), Send (next P 1) OUTPUT)]
                      | RecvFirst => []
                      end.

Lemma n_range : n < N.
Proof. apply Drained, Batch. Qed.

Lemma next_0 : next P 0 = 1.
Proof. unfold next. destruct (Nat.eqb_spec 1 P); lia. Qed.

Lemma rank_0_code : exists post, code serving 0 = up_to_requests ++ Send 1 REQUESTS :: post.
Proof.
  destruct (serving_split P d o b N 0 n ltac:(lia) n_range) as [post E]. rewrite E.
  unfold ServingDeadlock.before, up_to_requests, before_output. cbn [firstn].
  replace (1 <? P) with true by (symmetry; apply Nat.ltb_lt; lia).
  eexists. rewrite !keep_app, <- !app_assoc. f_equal. cbn [andb].
  unfold keep. cbn [flat_map fst snd Nat.ltb Nat.leb app]. rewrite <- !app_assoc. cbn [app]. reflexivity.
Qed.

Lemma receives_it : receives_output (n - 1) = true.
Proof.
  unfold Serving.receives_output, n. apply formed_spec. split; [lia |].
  replace (m + slots - 1 - (slots - 1)) with m by lia. exact Batch.
Qed.

Lemma rank_1_code : exists post, code serving 1 = up_to_output ++ Recv 0 OUTPUT :: post.
Proof.
  assert (R := n_range). destruct (serving_split P d o b N 1 (n - 1) ltac:(lia) ltac:(lia)) as [post E]. rewrite E.
  unfold up_to_output, output_phase. rewrite receives_it.
  assert (P1 : prev P 1 = 0) by reflexivity. rewrite P1.
  destruct (letter_of o 1); cbn [halves]; eexists; rewrite <- !app_assoc; f_equal;
    unfold keep; cbn [flat_map fst snd app]; rewrite ?app_nil_r, <- ?app_assoc; reflexivity.
Qed.

Lemma sent_before : count (Send 1 REQUESTS) up_to_requests = n /\
  count (Send 1 OUTPUT) up_to_requests = length (filter b (seq 0 m)).
Proof.
  unfold up_to_requests. rewrite !count_keep_app, requests_sent. split.
  - unfold before_output. cbn [firstn]. count_entries.
    repeat match goal with |- context [if ?c then 0 else 0] => destruct c end; lia.
  - assert (X := count_sends P d o b 0 n). rewrite next_0 in X. unfold ServingDeadlock.before in X.
    rewrite count_keep_app, no_output_before in X by (exists 1; auto).
    rewrite Nat.add_0_r in X. rewrite X. unfold Serving.sends_output.
    replace (1 =? P) with false by (symmetry; apply Nat.eqb_neq; lia). rewrite formed_total.
    replace (n - slots) with m by (unfold n; lia).
    unfold before_output. cbn [firstn]. count_entries.
    repeat match goal with |- context [if ?c then 0 else 0] => destruct c end; lia.
Qed.

Lemma received_before : count (Recv 0 REQUESTS) up_to_output = n /\
  count (Recv 0 OUTPUT) up_to_output = length (filter b (seq 0 m)).
Proof.
  assert (Mid : forall t, count (Recv 0 t) match letter_of o 1 with
    | SendFirst => keep [(sends_output 1 (n - 1), Send (next P 1) OUTPUT)]
    | RecvFirst => []
    end = 0).
  { intros t. destruct (letter_of o 1); [| reflexivity]. count_entries. now destruct (sends_output 1 (n - 1)). }
  unfold up_to_output. rewrite !count_app, !Mid, !Nat.add_0_r. split.
  - unfold ServingDeadlock.before. rewrite count_keep_app, requests_received.
    unfold before_output. count_entries.
    repeat match goal with |- context [if ?c then 0 else 0] => destruct c end; cbn; unfold n; lia.
  - assert (X := count_receives P d o b 1 (n - 1)). cbn [prev Nat.eqb Nat.sub] in X. unfold prev in X. cbn in X.
    rewrite X. unfold Serving.receives_output. rewrite formed_total. do 3 f_equal. unfold n. lia.
Qed.

(** A blocking send of requests deadlocks with a single batch, whatever the
    ordering and the rest of the library. *)
Theorem blocking_requests_deadlock : direct L 0 1 REQUESTS -> deadlocks serving L.
Proof.
  intros D. destruct rank_0_code as [post0 C0], rank_1_code as [post1 C1].
  destruct sent_before as [S0 S1], received_before as [R0 R1].
  apply (wall_deadlocks _ L (fun r => r < 2)
    (fun r => if r =? 0 then length up_to_requests else length up_to_output) 0); cbn [ranks Serving.serving]; try lia.
  { cbn [Nat.eqb]. rewrite C0, app_length. cbn. lia. }
  intros s R I. assert (LEN := length_reachable _ _ _ R). cbn [ranks Serving.serving] in LEN.
  assert (I0 := I 0 ltac:(lia)). assert (I1 := I 1 ltac:(lia)). cbn [Nat.eqb] in I0, I1.
  assert (H0 : head serving s 0 = nth_error (up_to_requests ++ Send 1 REQUESTS :: post0) (pos s 0))
    by (rewrite head_at by lia; now rewrite C0).
  assert (H1 : head serving s 1 = nth_error (up_to_output ++ Recv 0 OUTPUT :: post1) (pos s 1))
    by (rewrite head_at by lia; now rewrite C1).
  intros r Hr E. destruct r as [| [| r]]; [| | lia]; cbn [Nat.eqb] in E.
  - assert (W : head serving s 0 = Some (Send 1 REQUESTS))
      by (rewrite H0, E, nth_error_app2, Nat.sub_diag by auto; reflexivity).
    split; [| intros q; split].
    + unfold ready. rewrite W. tauto.
    + intros (t & A & B & _). rewrite W in A. injection A as <- <-. rewrite H1 in B.
      assert (F := direct_balanced _ _ _ R _ _ _ D). unfold sent, received in F.
      rewrite C0, C1, E, firstn_wall, firstn_all in F by lia.
      destruct (Nat.eq_dec (pos s 1) (length up_to_output)) as [Z | Z].
      * rewrite Z, nth_error_app2, Nat.sub_diag in B by auto. easy.
      * assert (LT : pos s 1 < length up_to_output) by lia. assert (X := count_before _ _ _ _ LT B). lia.
    + intros (t & _ & B & _). congruence.
  - assert (W : head serving s 1 = Some (Recv 0 OUTPUT))
      by (rewrite H1, E, nth_error_app2, Nat.sub_diag by auto; reflexivity).
    assert (G : received serving s 0 1 OUTPUT = length (filter b (seq 0 m))).
    { unfold received. rewrite C1, E, firstn_wall, firstn_all by lia. exact R1. }
    split; [| intros q; split].
    + unfold ready. rewrite W, G. intros [_ LT]. revert LT. unfold sent. rewrite C0, firstn_wall by auto.
      assert (X := count_prefix (Send 1 OUTPUT) (pos s 0) up_to_requests). lia.
    + intros (t & A & _). congruence.
    + intros (t & A & B & D'). rewrite W in B. injection B as <- <-. rewrite H0 in A.
      assert (F := direct_balanced _ _ _ R _ _ _ D'). rewrite G in F. unfold sent in F. rewrite C0 in F.
      destruct (Nat.eq_dec (pos s 0) (length up_to_requests)) as [Z | Z].
      * rewrite Z, nth_error_app2, Nat.sub_diag in A by auto. easy.
      * assert (LT : pos s 0 < length up_to_requests) by lia. assert (X := count_before _ _ _ _ LT A). lia.
Qed.

End Requests.
