(** * The period of an ordering (statement 5)

    In P steps, what one rank of the ring has sent grows by at most the number
    of send-first ranks, and by at most the number of receive-first ranks: walk
    around the ring, one rank per step, down or up.  The potential of the
    ordering gives a timetable that is as fast.  So the steps per round tend to
    P / min(#S, #R). *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Slack TimedLists Timetable Ring RingVerdicts
  Schedules Parallel Cost.
Import ListNotations.

(** ** What a rank has sent and received, from its position *)
Lemma count_alternating x y K : x <> y -> forall i a, i <= 2 * K ->
  count x (firstn i (flat_map (fun _ : nat => [x; y]) (seq a K))) = Nat.div2 (S i) /\
  count y (firstn i (flat_map (fun _ : nat => [x; y]) (seq a K))) = Nat.div2 i.
Proof.
  intros N. induction K as [| K IH]; intros i a H.
  - replace i with 0 by lia. auto.
  - cbn [seq flat_map app]. destruct i as [| [| i]]; cbn [firstn].
    + auto.
    + rewrite !count_one. destruct (op_eq_dec x x), (op_eq_dec x y); easy.
    + destruct (IH i (S a)) as [A B]; [lia |]. unfold count in *. cbn [count_occ].
      rewrite A, B. destruct (op_eq_dec x x), (op_eq_dec x y), (op_eq_dec y x), (op_eq_dec y y);
        try congruence. split; reflexivity.
Qed.

Lemma length_alternating (x y : op) K a : length (flat_map (fun _ : nat => [x; y]) (seq a K)) = 2 * K.
Proof. revert a; induction K as [| K IH]; intros a; auto. cbn. rewrite IH. lia. Qed.

Lemma div2_mono i j : i <= j -> Nat.div2 i <= Nat.div2 j.
Proof. intros H. rewrite !Nat.div2_div. now apply Nat.div_le_mono. Qed.

Section Period.
Variables (o : ordering) (K : nat).
Notation P := (length o).
Notation p := (ring o K).
Hypothesis P2 : 2 <= P.

(** How many messages went over edge [e]. *)
Definition passed s e := sent p s e (next P e) 0.

Lemma passed_by_position s r : reachable p rendezvous s -> r < P ->
  match letter_of o r with
  | SendFirst => passed s r = Nat.div2 (S (pos s r)) /\ passed s (prev P r) = Nat.div2 (pos s r)
  | RecvFirst => passed s (prev P r) = Nat.div2 (S (pos s r)) /\ passed s r = Nat.div2 (pos s r)
  end.
Proof.
  intros R Hr. assert (G := in_range_reachable _ _ _ R). destruct G as [_ G]. specialize (G r).
  assert (B : passed s (prev P r) = received p s (prev P r) r 0).
  { unfold passed. rewrite next_prev by auto. eapply direct_balanced; eauto. reflexivity. }
  rewrite B. unfold passed, sent, received. revert G. cbn [code ring]. rewrite (proj2 (Nat.ltb_lt r P) Hr).
  destruct (letter_of o r); cbn [halves]; rewrite length_alternating; intros G.
  - destruct (count_alternating (Send (next P r) 0) (Recv (prev P r) 0) K ltac:(easy) (pos s r) 0 G). auto.
  - destruct (count_alternating (Recv (prev P r) 0) (Send (next P r) 0) K ltac:(easy) (pos s r) 0 G). auto.
Qed.

(** ** One step moves a rank by one operation at most *)
Lemma fire_other step s r : ~ In r (flat_map (ends P) step) -> pos (fire o step s) r = pos s r.
Proof.
  revert s; induction step as [| f step IH]; intros s H; auto. cbn [flat_map] in H. rewrite in_app_iff in H.
  change (fire o (f :: step) s) with (fire o step (advance (next P f) (advance f s))).
  rewrite IH by tauto. rewrite !pos_advance_other; auto; intros ->; apply H; left; cbn; auto.
Qed.

Lemma fire_one step s r : one_at_a_time P step -> (forall e, In e step -> open o K s e) ->
  pos (fire o step s) r <= S (pos s r).
Proof.
  intros [R N] H. destruct (in_dec Nat.eq_dec r (flat_map (ends P) step)) as [I | I]; [| rewrite fire_other; auto].
  apply in_flat_map in I. destruct I as (e & I & J). apply in_split in I. destruct I as (l1 & l2 & ->).
  rewrite flat_map_app in N. cbn [flat_map] in N.
  assert (Fire : forall l l' u, fire o (l ++ l') u = fire o l' (fire o l u)) by (intros; apply fold_left_app).
  rewrite Fire. change (e :: l2) with ([e] ++ l2). rewrite Fire.
  assert (D : ~ In r (flat_map (ends P) l1) /\ ~ In r (flat_map (ends P) l2)).
  { split; intros X.
    - clear - N J X. induction (flat_map (ends P) l1) as [| z l IH]; [easy |].
      cbn in N. apply NoDup_cons_iff in N. destruct N as [N1 N]. destruct X as [-> | X]; [| auto].
      apply N1, in_app_iff. right. destruct J as [<- | [<- | []]]; cbn; auto.
    - assert (N' : NoDup (ends P e ++ flat_map (ends P) l2)).
      { clear - N. induction (flat_map (ends P) l1); auto. apply IHl. now apply NoDup_cons_iff in N. }
      cbn in N'. apply NoDup_cons_iff in N'. destruct N' as [A N']. apply NoDup_cons_iff in N'. destruct N' as [C _].
      destruct J as [<- | [<- | []]]; cbn in A; tauto. }
  destruct D as [D1 D2]. rewrite fire_other by auto. rewrite <- (fire_other l1 s r) by auto.
  set (u := fire o l1 s). change (fire o [e] u) with (advance (next P e) (advance e u)).
  destruct (H e) as [A B]; [apply in_app_iff; cbn; auto |].
  assert (next P e <> e) by (intros E; rewrite E in B; congruence).
  destruct (Nat.eq_dec r e) as [-> | X].
  - rewrite pos_advance_other by auto. rewrite pos_advance. destruct (_ && _); lia.
  - rewrite pos_advance, pos_advance_other by auto. destruct (_ && _); lia.
Qed.

(** One step to the left, one step to the right around the ring. *)
Lemma step_bounds step s r : reachable p rendezvous s -> one_at_a_time P step ->
  (forall e, In e step -> open o K s e) -> r < P ->
  passed (fire o step s) (prev P r) <= passed s r + (if letter_eq_dec (letter_of o r) RecvFirst then 1 else 0) /\
  passed (fire o step s) r <= passed s (prev P r) + (if letter_eq_dec (letter_of o r) SendFirst then 1 else 0).
Proof.
  intros R O H Hr. assert (A := passed_by_position s r R Hr).
  assert (R' : reachable p rendezvous (fire o step s)).
  { destruct R as [n R]. destruct (fire_run o K step s O H) as [m G]. exists (n + m). eapply run_app; eauto. }
  assert (B := passed_by_position _ r R' Hr). assert (F := fire_one step s r O H).
  assert (D1 := div2_mono _ _ F). assert (D2 := div2_mono _ _ (le_n_S _ _ F)).
  change (Nat.div2 (S (S (pos s r)))) with (S (Nat.div2 (pos s r))) in D2.
  destruct (letter_of o r), A as [A1 A2], B as [B1 B2]; rewrite A1, A2, B1, B2;
    repeat match goal with |- context [letter_eq_dec ?a ?b] => destruct (letter_eq_dec a b); try easy end; lia.
Qed.

(** ** Around the ring *)

Lemma parallel_run_app steps steps' s s' s'' :
  parallel_run o K steps s s' -> parallel_run o K steps' s' s'' -> parallel_run o K (steps ++ steps') s s''.
Proof. induction 1; cbn; auto. intros. constructor; auto. Qed.

(** The number of letters [l] among the first [j] ranks. *)
Notation letters l j := (how_many l (firstn j o)).

(** After [j] steps the edge into rank [P - j]. *)
Lemma walk_down steps s s' : parallel_run o K steps s s' -> reachable p rendezvous s ->
  forall r, r < P -> length steps <= r ->
  passed s' (r - length steps) + letters RecvFirst (S r - length steps) <= passed s r + letters RecvFirst (S r).
Proof.
  induction 1 as [s | step steps s s' O H R IH]; intros Re r Hr L; cbn [length] in *.
  - rewrite !Nat.sub_0_r. lia.
  - destruct (fire_run o K step s O H) as [m G].
    assert (Re' : reachable p rendezvous (fire o step s)).
    { destruct Re as [n Re]. exists (n + m). eapply run_app; eauto. }
    destruct (step_bounds step s r Re O H Hr) as [B _].
    specialize (IH Re' (r - 1) ltac:(lia) ltac:(lia)).
    replace (prev P r) with (r - 1) in B by (unfold prev; destruct (Nat.eqb_spec r 0); lia).
    replace (r - 1 - length steps) with (r - S (length steps)) in IH by lia.
    replace (S (r - 1) - length steps) with (S r - S (length steps)) in IH by lia.
    replace (S (r - 1)) with r in IH by lia.
    assert (X := how_many_succ RecvFirst o r Hr). lia.
Qed.

Lemma walk_up steps s s' : parallel_run o K steps s s' -> reachable p rendezvous s ->
  forall r, r + length steps < P ->
  passed s' (r + length steps) + letters SendFirst (S r) <= passed s r + letters SendFirst (S (r + length steps)).
Proof.
  induction 1 as [s | step steps s s' O H R IH]; intros Re r L; cbn [length] in *.
  - rewrite !Nat.add_0_r. lia.
  - destruct (fire_run o K step s O H) as [m G].
    assert (Re' : reachable p rendezvous (fire o step s)).
    { destruct Re as [n Re]. exists (n + m). eapply run_app; eauto. }
    destruct (step_bounds step s (S r) Re O H ltac:(lia)) as [_ B].
    specialize (IH Re' (S r) ltac:(lia)).
    replace (prev P (S r)) with r in B by (unfold prev; cbn; lia).
    replace (S r + length steps) with (r + S (length steps)) in IH by lia.
    assert (X := how_many_succ SendFirst o (S r) ltac:(lia)). lia.
Qed.

(** Once around takes P steps and gains at most #S, or #R. *)
Lemma around steps s s' : parallel_run o K steps s s' -> reachable p rendezvous s -> length steps = P ->
  passed s' (P - 1) <= passed s (P - 1) + how_many SendFirst o /\
  passed s' 0 <= passed s 0 + how_many RecvFirst o.
Proof.
  intros R Re L. destruct steps as [| step steps]; [cbn in L; lia |]. cbn [length] in L.
  inversion R as [| ? ? ? ? O H R']; subst.
  destruct (fire_run o K step s O H) as [m G].
  assert (Re' : reachable p rendezvous (fire o step s)).
  { destruct Re as [n Re]. exists (n + m). eapply run_app; eauto. }
  destruct (step_bounds step s 0 Re O H ltac:(lia)) as [B C]. change (prev P 0) with (P - 1) in B, C.
  assert (TS := how_many_succ SendFirst o 0 ltac:(lia)). assert (TR := how_many_succ RecvFirst o 0 ltac:(lia)).
  change (letters SendFirst 0) with 0 in TS. change (letters RecvFirst 0) with 0 in TR. split.
  - assert (U := walk_up _ _ _ R' Re' 0 ltac:(lia)). cbn [Nat.add] in U.
    replace (length steps) with (P - 1) in U by lia.
    replace (S (P - 1)) with P in U by lia. rewrite firstn_all in U. lia.
  - assert (U := walk_down _ _ _ R' Re' (P - 1) ltac:(lia) ltac:(lia)).
    replace (P - 1 - length steps) with 0 in U by lia. replace (S (P - 1) - length steps) with 1 in U by lia.
    replace (S (P - 1)) with P in U by lia. rewrite firstn_all in U. lia.
Qed.

(** A parallel run of q P steps passes at most q min(#S, #R) messages over an edge. *)
Lemma turns q : forall steps s s', parallel_run o K steps s s' -> reachable p rendezvous s -> length steps = q * P ->
  passed s' (P - 1) <= passed s (P - 1) + q * how_many SendFirst o /\
  passed s' 0 <= passed s 0 + q * how_many RecvFirst o.
Proof.
  induction q as [| q IH]; intros steps s s' R Re L.
  - destruct steps; [| easy]. inversion R; subst. lia.
  - rewrite <- (firstn_skipn P steps) in R.
    assert (Split : exists u, parallel_run o K (firstn P steps) s u /\ parallel_run o K (skipn P steps) u s').
    { clear - R. revert R. generalize (skipn P steps). generalize (firstn P steps). clear. intros l l'. revert s.
      induction l as [| x l IH]; intros s R; [exists s; split; [constructor | auto] |].
      inversion R; subst. destruct (IH _ ltac:(eassumption)) as (u & A & B). exists u. split; auto. now constructor. }
    destruct Split as (u & A & B).
    assert (Re' : reachable p rendezvous u).
    { destruct Re as [n Re]. destruct (parallel_run_is_run _ _ _ _ _ A) as [m G]. exists (n + m). eapply run_app;
        eauto. }
    destruct (around _ _ _ A Re) as [X1 X2]; [rewrite firstn_length; cbn in L; lia |].
    destruct (IH _ _ _ B Re') as [Y1 Y2]; [rewrite skipn_length, L; cbn; lia |]. lia.
Qed.

Lemma idle_steps n s : parallel_run o K (repeat [] n) s s.
Proof.
  induction n as [| n IH]; cbn; constructor; auto.
  - split; [easy | constructor].
  - easy.
Qed.

(** *** K rounds of an ordering: at most min(#S, #R) messages on each edge in P steps *)
Theorem period_lower steps s : parallel_run o K steps (start p) s -> finished p s ->
  K <= Nat.min (how_many SendFirst o) (how_many RecvFirst o) * ceil_div (length steps) P.
Proof.
  intros R F. set (q := ceil_div (length steps) P).
  assert (Q : length steps <= q * P).
  { unfold q, ceil_div. assert (X := Nat.mul_succ_div_gt (length steps + P - 1) P ltac:(lia)). nia. }
  assert (R' := parallel_run_app _ _ _ _ _ R (idle_steps (q * P - length steps) s)).
  assert (Re0 : reachable p rendezvous (start p)) by (exists 0; constructor).
  destruct (turns q _ _ _ R' Re0) as [A B]; [rewrite app_length, repeat_length; lia |].
  assert (All : forall e, e < P -> passed s e = K).
  { intros e He. destruct (parallel_run_is_run _ _ _ _ _ R) as [n G].
    assert (L := length_reachable p rendezvous s (ex_intro _ n G)). cbn in L.
    unfold passed, sent. assert (C := F e). rewrite head_at in C by lia. apply nth_error_None in C.
    rewrite firstn_all2 by auto. now apply ring_sends. }
  assert (Z : forall e, passed (start p) e = 0).
  { intros e. unfold passed, sent, pos, start. now rewrite nth_repeat. }
  rewrite All, Z in A, B by lia. apply Nat.min_case; lia.
Qed.

(** ... and the potential attains that, but for a constant that does not depend on K. *)
Theorem period_upper : ~ uniform o -> exists steps s,
  parallel_run o K steps (start p) s /\ finished p s /\
  length steps = (2 * (P * P) + K * P) / Nat.min (how_many SendFirst o) (how_many RecvFirst o) + 1.
Proof.
  intros NU. destruct (letters_present o NU) as [HS HR]. assert (TOT := how_many_total o).
  set (m := Nat.min (how_many SendFirst o) (how_many RecvFirst o)).
  assert (M : 0 < m /\ m <= how_many SendFirst o /\ m <= how_many RecvFirst o) by (unfold m; lia).
  apply (greedy_makespan o K (fun e n => potential_time o e n / m)); auto.
  - intros r n Hr. assert (X := potential_step o r Hr). cbn zeta. rewrite !Nat.add_0_r.
    destruct (letter_of o r); split; apply later; unfold potential_time; cbn [Nat.mul]; lia.
  - intros e n He Hn. assert (potential_time o e n / m <= (2 * (P * P) + K * P) / m); [| lia].
    apply Nat.div_le_mono; [lia |]. unfold potential_time. assert (B := potential_bound o e). nia.
Qed.

End Period.
