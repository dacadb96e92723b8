(** * Several transfers at once

    In a parallel step every transfer of a set fires, no rank being in two of
    them.  A parallel run is a run of the transition system, read in steps of
    unit time.  A timetable tells how long the greedy parallel run, in which
    all that can fire does, takes at most. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Slack TimedLists Timetable Ring Schedules.
Import ListNotations.

Section Parallel.
Variables (o : ordering) (K : nat).
Notation P := (length o).
Notation p := (ring o K).

(** Transfer [e] can fire. *)
Definition open s e := head p s e = Some (Send (next P e) 0) /\ head p s (next P e) = Some (Recv e 0).

Definition fire (step : list nat) (s : state) : state :=
  fold_left (fun s e => advance (next P e) (advance e s)) step s.

Inductive parallel_run : list (list nat) -> state -> state -> Prop :=
| parallel_nil s : parallel_run [] s s
| parallel_cons step steps s s' :
    one_at_a_time P step -> (forall e, In e step -> open s e) ->
    parallel_run steps (fire step s) s' -> parallel_run (step :: steps) s s'.

Lemma open_meets s e : open s e -> meets p rendezvous s e (next P e).
Proof. intros [A B]. exists 0. now split. Qed.

Lemma open_other s e f : open s e -> ~ In e (ends P f) -> ~ In (next P e) (ends P f) -> open (fire [f] s) e.
Proof.
  intros [A B] N M. cbn in *. split; rewrite !head_advance_other; auto.
Qed.

(** The transfers of one step have no rank in common. *)
Lemma apart f step : one_at_a_time P (f :: step) -> one_at_a_time P step /\
  forall e, In e step -> ~ In e (ends P f) /\ ~ In (next P e) (ends P f).
Proof.
  intros [R N]. cbn in N. apply NoDup_cons_iff in N. destruct N as [N1 N].
  apply NoDup_cons_iff in N. destruct N as [N2 N].
  split; [split; auto; intros; apply R; now right |]. intros e I.
  assert (G : forall r, In r (ends P e) -> ~ In r (ends P f)).
  { intros r J F. assert (X : In r (flat_map (ends P) step)) by (apply in_flat_map; eauto).
    destruct F as [<- | [<- | []]]; [apply N1; now right | now apply N2]. }
  split; apply G; cbn; auto.
Qed.

(** Each parallel step is a sequence of ordinary steps. *)
Lemma fire_run step s : one_at_a_time P step -> (forall e, In e step -> open s e) ->
  exists n, run p rendezvous n s (fire step s).
Proof.
  revert s; induction step as [| f step IH]; intros s O H.
  - exists 0. constructor.
  - apply apart in O. destruct O as [O A]. destruct (IH (fire [f] s)) as [n G]; auto.
    + intros e I. destruct (A e I). apply open_other; auto. apply H. now right.
    + exists (S n). econstructor; [| exact G]. apply together, open_meets, H. now left.
Qed.

Lemma parallel_run_is_run steps s s' : parallel_run steps s s' -> exists n, run p rendezvous n s s'.
Proof.
  induction 1 as [s | step steps s s' O H _ [n IH]]; [exists 0; constructor |].
  destruct (fire_run step s O H) as [m G]. exists (m + n). eapply run_app; eauto.
Qed.

Lemma fire_grows step s r : pos s r <= pos (fire step s) r.
Proof.
  revert s; induction step as [| f step IH]; intros s; cbn; auto.
  eapply Nat.le_trans; [| apply IH]. eapply Nat.le_trans; apply pos_grows.
Qed.

Lemma fire_moves step s e r : In e step -> In r (ends P e) -> r < length s -> S (pos s r) <= pos (fire step s) r.
Proof.
  revert s; induction step as [| f step IH]; intros s I J Hr; [easy |]. cbn.
  destruct I as [-> | I].
  - eapply Nat.le_trans; [| apply fire_grows]. destruct J as [<- | [<- | []]].
    + eapply Nat.le_trans; [| apply pos_grows]. rewrite pos_advance_same; auto.
    + rewrite pos_advance_same by now rewrite length_advance. apply le_n_S, pos_grows.
  - eapply Nat.le_trans; [| apply IH; auto; now rewrite !length_advance].
    apply le_n_S. eapply Nat.le_trans; apply pos_grows.
Qed.

(** ** A complete parallel run is a schedule in the sense of the lower bound *)
Lemma fire_sent step s : one_at_a_time P step -> (forall e, In e step -> open s e) -> forall e, e < P ->
  sent p (fire step s) e (next P e) 0 = sent p s e (next P e) 0 + count_occ Nat.eq_dec step e.
Proof.
  revert s; induction step as [| f step IH]; intros s O H e He; [cbn [fire fold_left count_occ]; lia |].
  apply apart in O. destruct O as [O A].
  assert (OF : open s f) by (apply H; now left).
  assert (NF : f <> next P f).
  { intros E. destruct OF as [C B]. rewrite <- E in B. congruence. }
  change (fire (f :: step) s) with (fire step (fire [f] s)). rewrite IH; auto.
  - assert (E : sent p (fire [f] s) e (next P e) 0 =
                sent p s e (next P e) 0 + (if Nat.eq_dec f e then 1 else 0));
      [| rewrite E; cbn; destruct (Nat.eq_dec f e); lia].
    destruct OF as [C B]. cbn [fire fold_left]. destruct (Nat.eq_dec f e) as [-> | D].
    + rewrite sent_other by auto. unfold sent. rewrite (count_advance _ _ _ _ _ C).
      destruct (op_eq_dec _ _); [lia | easy].
    + destruct (Nat.eq_dec e (next P f)) as [X | X].
      * rewrite <- (head_advance_other p s f) in B by auto. rewrite <- X in B |- *.
        unfold sent at 1. rewrite (count_advance _ _ _ _ _ B).
        destruct (op_eq_dec _ _); [easy |]. fold (sent p (advance f s) e (next P e) 0).
        rewrite sent_other by auto. lia.
      * rewrite !sent_other by auto. lia.
  - intros g I. destruct (A g I). apply open_other; auto. apply H. now right.
Qed.

Lemma parallel_sent steps s s' : parallel_run steps s s' -> forall e, e < P ->
  sent p s' e (next P e) 0 = sent p s e (next P e) 0 + count_occ Nat.eq_dec (concat steps) e.
Proof.
  induction 1 as [s | step steps s s' O H _ IH]; intros e He; [cbn [concat count_occ]; lia |].
  rewrite IH, fire_sent by auto. cbn [concat]. rewrite count_occ_app. lia.
Qed.

Lemma ring_sends r : r < P -> count (Send (next P r) 0) (code p r) = K.
Proof.
  intros H. unfold ring. cbn [code]. apply Nat.ltb_lt in H. rewrite H.
  assert (G : forall k a, count (Send (next P r) 0) (flat_map (fun _ =>
    halves (letter_of o r) (Send (next P r) 0) (Recv (prev P r) 0)) (seq a k)) = k); [| apply G].
  induction k as [| k IH]; intros a; auto. cbn [seq flat_map]. rewrite count_app, IH.
  destruct (letter_of o r); cbn [halves]; unfold count; cbn [count_occ];
    destruct (op_eq_dec (Send (next P r) 0) (Send (next P r) 0)), (op_eq_dec (Recv (prev P r) 0) (Send (next P r) 0));
    easy || lia.
Qed.

Theorem parallel_run_is_schedule steps s :
  parallel_run steps (start p) s -> finished p s -> schedule P K steps.
Proof.
  intros R F. split.
  - clear F. revert R. generalize (start p). induction steps as [| step steps IH]; intros u R x I; [easy |].
    inversion R; subst. destruct I as [<- | I]; eauto.
  - intros e He. assert (X := parallel_sent _ _ _ R e He).
    destruct (parallel_run_is_run _ _ _ R) as [n G].
    assert (L := length_reachable p rendezvous s (ex_intro _ n G)). cbn in L.
    assert (Z : sent p (start p) e (next P e) 0 = 0).
    { unfold sent, pos, start. now rewrite nth_repeat. }
    rewrite Z in X. cbn [Nat.add] in X. rewrite <- X. unfold sent.
    assert (C := F e). rewrite head_at in C by lia. apply nth_error_None in C.
    rewrite firstn_all2 by auto. now apply ring_sends.
Qed.

(** ** The greedy parallel run keeps to every timetable *)
Definition openb s e := op_is (Send (next P e) 0) (head p s e) && op_is (Recv e 0) (head p s (next P e)).

Definition greedy s := filter (openb s) (seq 0 P).

Lemma greedy_spec s e : In e (greedy s) <-> e < P /\ open s e.
Proof.
  unfold greedy. rewrite filter_In, in_seq. unfold openb, open. rewrite andb_true_iff, !op_is_spec. intuition lia.
Qed.

Lemma greedy_one_at_a_time s : one_at_a_time P (greedy s).
Proof.
  split; [intros e I; now apply greedy_spec in I |].
  assert (H : forall e, In e (greedy s) -> open s e) by (intros e I; now apply greedy_spec in I).
  assert (N : NoDup (greedy s)) by apply NoDup_filter, seq_NoDup.
  induction N as [| e l X N IH]; [constructor |].
  assert (OE : open s e) by (apply H; now left). destruct OE as [A B].
  assert (D : forall f, In f l -> f <> e /\ f <> next P e /\ next P f <> e /\ next P f <> next P e).
  { intros f I. assert (OF : open s f) by (apply H; now right). destruct OF as [C D].
    repeat split; intros E; [subst; auto | | |]; rewrite ?E in *; congruence. }
  change (NoDup (e :: next P e :: flat_map (ends P) l)).
  assert (G : forall r, In r (flat_map (ends P) l) -> r <> e /\ r <> next P e).
  { intros r I. apply in_flat_map in I. destruct I as (f & I & [<- | [<- | []]]); specialize (D f I); tauto. }
  constructor.
  - intros [E | I]; [rewrite E in B; congruence | now apply G in I].
  - constructor; [intros I; now apply G in I |]. apply IH. intros; apply H; now right.
Qed.

Variables (time : nat -> nat -> nat).
Hypothesis P2 : 2 <= P.
Hypothesis Order : in_order o 0 time.

Let tt := timed_ring o K 0 time.
Let T : timetable p rendezvous tt (every_delay 0).
Proof.
  apply ring_timetable; auto. intros r d t. now split.
Qed.

Lemma greedy_keeps_up s k : reachable p rendezvous s -> done_before tt s k ->
  done_before tt (fire (greedy s) s) (S k).
Proof.
  intros R D r i [j x] I J. cbn in J.
  assert (Hg := fire_grows (greedy s) s r).
  destruct (le_lt_dec (pos s r) i) as [C |]; [| lia].
  destruct (Nat.eq_dec j k) as [-> | N]; [| assert (i < pos s r) by (apply (D r i (j, x) I); cbn; lia); lia].
  assert (E : i = pos s r).
  { destruct (Nat.eq_dec i (pos s r)) as [| M]; auto. exfalso.
    assert (A : nth_error (tt r) (pos s r) <> None).
    { apply nth_error_Some. assert (i < length (tt r)) by (apply nth_error_Some; congruence). lia. }
    destruct (nth_error (tt r) (pos s r)) as [y |] eqn:Y; [| easy].
    assert (LT : pos s r < i) by lia.
    assert (Z := increasing_nth _ _ _ _ _ (tt_increasing _ _ _ _ T r) LT Y I). cbn in Z.
    specialize (D _ _ _ Y). lia. }
  subst i. assert (Len := length_reachable _ _ _ R). cbn in Len.
  assert (M := nth_error_In _ _ I). apply in_timed_ring in M.
  destruct M as (Hr & n & Hn & [M | M]); injection M as Tm ->.
  - destruct (partner_at _ _ _ _ T s r (next P r) 0 k R D) as [A B]; [reflexivity | now left |].
    assert (OE : open s r).
    { split; rewrite (head_next _ _ _ _ T s _ R), ?A, ?B; auto. }
    apply (fire_moves (greedy s) s r r); [now apply greedy_spec | now left | lia].
  - destruct (partner_at _ _ _ _ T s (prev P r) r 0 k R D) as [A B]; [reflexivity | now right |].
    assert (OE : open s (prev P r)).
    { split; rewrite ?next_prev by auto; rewrite (head_next _ _ _ _ T s _ R), ?A, ?B; auto; cbn;
        now rewrite ?next_prev. }
    apply (fire_moves (greedy s) s (prev P r) r); [apply greedy_spec; split; auto; now apply prev_range | | lia].
    right; left. now apply next_prev.
Qed.

(** If all times are below [k], the greedy parallel run ends in [k] steps. *)
Theorem greedy_makespan k : (forall e n, e < P -> n < K -> time e n < k) ->
  exists steps s, parallel_run steps (start p) s /\ finished p s /\ length steps = k.
Proof.
  intros B.
  assert (G : forall j s, reachable p rendezvous s -> forall i, done_before tt s i ->
    exists steps s', parallel_run steps s s' /\ done_before tt s' (i + j) /\ length steps = j).
  { induction j as [| j IH]; intros s R i D.
    - exists [], s. rewrite Nat.add_0_r. repeat split; auto. constructor.
    - destruct (fire_run (greedy s) s (greedy_one_at_a_time s)) as [m F].
      { intros e I. now apply greedy_spec in I. }
      destruct (IH (fire (greedy s) s)) with (i := S i) as (steps & s' & A & C & L).
      + destruct R as [n R]. exists (n + m). eapply run_app; eauto.
      + now apply greedy_keeps_up.
      + exists (greedy s :: steps), s'. replace (i + S j) with (S i + j) by lia. repeat split; auto; [| cbn; lia].
        constructor; auto; [apply greedy_one_at_a_time | intros e I; now apply greedy_spec in I]. }
  destruct (G k (start p)) with (i := 0) as (steps & s & A & D & L).
  - exists 0. constructor.
  - intros r i x _ X. lia.
  - exists steps, s. repeat split; auto.
    destruct (parallel_run_is_run _ _ _ A) as [n R]. assert (Re := ex_intro _ n R : reachable p rendezvous s).
    intros r. rewrite (head_next _ _ _ _ T s r Re). unfold next_at.
    destruct (nth_error (tt r) (pos s r)) as [[j x] |] eqn:E; auto. exfalso.
    assert (X := D r _ _ E). cbn in X. assert (j < k); [| specialize (X ltac:(lia)); lia].
    apply nth_error_In, in_timed_ring in E. destruct E as (Hr & m & Hm & [E | E]); injection E as -> _.
    + now apply B.
    + rewrite Nat.add_0_r. apply B; auto. now apply prev_range.
Qed.

End Parallel.
