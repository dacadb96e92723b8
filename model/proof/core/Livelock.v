(** * A polling isend: livelock is deadlock under another name

    On XCCL a blocked isend does not sleep, it polls.  In the polling model a
    rank first posts its send and then tests it again and again; a test that
    finds nothing is a step that changes nothing.  So a blocked program has
    steps for ever.  We show that its states without progress, the unfinished
    states in terminal strongly connected components, stand at exactly the
    positions of the deadlocks of the blocking model.  So do, state by state,
    those from which no rank ever completes an operation again. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Circuit.
Import ListNotations.

Section Livelock.
Variables (p : program) (L : library).

(** Positions, and which ranks have a posted send that is not complete. *)
Definition polling_state := (state * (nat -> bool))%type.

Definition set (b : nat -> bool) r v : nat -> bool := fun q => if q =? r then v else b q.

Definition at_send s r := exists d t, head p s r = Some (Send d t).

Inductive polling_step : polling_state -> polling_state -> Prop :=
| post s b r : at_send s r -> b r = false -> polling_step (s, b) (s, set b r true)
| poll s b r : at_send s r -> b r = true -> cannot_move p L s r -> polling_step (s, b) (s, b)
| complete_alone s b r : ready p L s r -> (at_send s r -> b r = true) ->
    polling_step (s, b) (advance r s, set b r false)
| complete_together s b r d : meets p L s r d -> b r = true ->
    polling_step (s, b) (advance d (advance r s), set b r false).

Inductive reaches : polling_state -> polling_state -> Prop :=
| reaches_refl x : reaches x x
| reaches_step x y z : polling_step x y -> reaches y z -> reaches x z.

Definition polling_start : polling_state := (start p, fun _ => false).

(** In a terminal strongly connected component one can return from wherever one gets. *)
Definition in_terminal_component x := forall y, reaches x y -> reaches y x.

Definition livelock x := in_terminal_component x /\ ~ finished p (fst x).

Lemma reaches_trans x y z : reaches x y -> reaches y z -> reaches x z.
Proof. induction 1; auto. intros. econstructor; eauto. Qed.

(** ** Progress is never undone *)
Lemma polling_step_sum x y : polling_step x y ->
  fst y = fst x \/ list_sum (fst x) < list_sum (fst y) /\ step p L (fst x) (fst y).
Proof.
  destruct 1; cbn; auto; right; split; try (apply (step_sum p L)); now constructor.
Qed.

Lemma reaches_sum x y : reaches x y -> fst y = fst x \/ list_sum (fst x) < list_sum (fst y).
Proof.
  induction 1 as [x | x y z S _ IH]; auto. apply polling_step_sum in S.
  destruct S as [E | [S _]], IH as [F | F]; rewrite ?F, ?E in *; auto; right; lia.
Qed.

(** Inside a terminal component there is no progress. *)
Lemma no_progress x y : in_terminal_component x -> reaches x y -> fst y = fst x.
Proof.
  intros T R. assert (B := T y R). apply reaches_sum in R, B.
  destruct R as [R | R]; auto. destruct B as [B | B]; [auto | lia].
Qed.

(** ** The two models reach the same positions *)
Lemma polling_sound x : reaches polling_start x -> reachable p L (fst x).
Proof.
  assert (G : forall x y, reaches x y -> reachable p L (fst x) -> reachable p L (fst y)).
  { induction 1 as [| u v w S _ IH]; auto. intros R. apply IH. apply polling_step_sum in S.
    destruct S as [E | [_ S]]; [now rewrite E |]. eapply reachable_step; eauto. }
  intros R. apply (G _ _ R). exists 0. constructor.
Qed.

(** A rank that has not posted its send can do so. *)
Lemma can_post s b r : at_send s r -> exists b', reaches (s, b) (s, b') /\ b' r = true.
Proof.
  intros H. destruct (b r) eqn:E; [exists b; split; [constructor | auto] |].
  exists (set b r true). split; [eapply reaches_step; [now apply (post s b r) | constructor] |].
  unfold set. now rewrite Nat.eqb_refl.
Qed.

(** What the blocking model can do, the polling model can. *)
Lemma polling_follows s s' b : step p L s s' -> exists b', reaches (s, b) (s', b').
Proof.
  intros [u r H | u r d H].
  - unfold ready in H. destruct (head p u r) as [[d t | q t | d t] |] eqn:E; [| | | easy].
    + destruct (can_post u b r) as (b' & R & B); [now exists d, t |].
      eexists. eapply reaches_trans; [exact R |]. econstructor; [| constructor].
      apply complete_alone; auto. unfold ready. now rewrite E.
    + eexists. econstructor; [| constructor]. apply complete_alone.
      * unfold ready. now rewrite E.
      * intros (? & ? & ?). congruence.
    + eexists. econstructor; [| constructor]. apply complete_alone.
      * unfold ready. now rewrite E.
      * intros (? & ? & ?). congruence.
  - destruct (can_post u b r) as (b' & R & B).
    { destruct H as (t & A & _). now exists d, t. }
    eexists. eapply reaches_trans; [exact R |]. econstructor; [| constructor].
    now apply complete_together.
Qed.

Lemma polling_complete s : reachable p L s -> exists b, reaches polling_start (s, b).
Proof.
  revert s. apply reachable_ind.
  - eexists. constructor.
  - intros s s' _ [b I] G. destruct (polling_follows s s' b G) as [b' R].
    exists b'. eapply reaches_trans; eauto.
Qed.

(** ** Every blocked sender ends up polling *)
Lemma at_send_dec s r : {at_send s r} + {~ at_send s r}.
Proof.
  unfold at_send. destruct (head p s r) as [[d t | q t | d t] |];
    [left; eauto | right | right | right]; intros (? & ? & ?); congruence.
Qed.

Lemma post_keeps x y r : reaches x y -> stuck p L (fst x) -> snd x r = true -> snd y r = true.
Proof.
  induction 1 as [x | x y z S _ IH]; auto. intros U H. destruct S as [s b q | s b q | s b q A | s b q d A]; cbn in *.
  - apply IH; auto. unfold set. destruct (r =? q); auto.
  - now apply IH.
  - exfalso. eapply U. now apply alone, A.
  - exfalso. eapply U. now apply together, A.
Qed.

Lemma all_post s b n : stuck p L s -> exists b', reaches (s, b) (s, b') /\
  forall r, r < n -> at_send s r -> b' r = true.
Proof.
  intros U. induction n as [| n (b' & R & B)]; [exists b; split; [constructor | lia] |].
  destruct (at_send_dec s n) as [A | A].
  - destruct (can_post s b' n A) as (c & R' & C). exists c. split; [eapply reaches_trans; eauto |].
    intros r Hr Ar. destruct (Nat.eq_dec r n) as [-> |]; auto.
    apply (post_keeps _ _ r R'); auto. cbn. apply B; auto. lia.
  - exists b'. split; auto. intros r Hr Ar. destruct (Nat.eq_dec r n) as [-> |]; [easy |]. apply B; auto. lia.
Qed.

(** *** The polling model and the blocking model agree *)
Theorem livelock_iff_deadlock s :
  (exists b, reaches polling_start (s, b) /\ livelock (s, b)) <-> (reachable p L s /\ deadlock p L s).
Proof.
  split.
  - intros (b & R & T & N). apply polling_sound in R. repeat split; auto.
    intros s' G. destruct (polling_follows s s' b G) as [b' R'].
    apply (no_progress _ _ T) in R'. cbn in R'. apply (step_sum p L) in G. subst. lia.
  - intros (R & U & N). destruct (polling_complete s R) as [b B].
    destruct (all_post s b (length s) U) as (b' & R' & A). exists b'.
    split; [eapply reaches_trans; eauto |]. split; auto.
    assert (Only : forall y, polling_step (s, b') y -> y = (s, b')).
    { intros y S. inversion S as [? ? r H F | | ? ? r H | ? ? r d H]; subst; auto.
      - rewrite A in F; [easy | | exact H]. destruct H as (d & t & H). now apply head_some in H.
      - exfalso. eapply U. now apply alone, H.
      - exfalso. eapply U. now apply together, H. }
    intros y Ry. remember (s, b') as x eqn:X. induction Ry as [x | x y z S Ry IH]; subst; [constructor |].
    apply Only in S. subst. now apply IH.
Qed.

(** State by state: a polling state from which no rank ever completes an
    operation again, though some rank has not ended, stands where the blocking
    model deadlocks; and there is no other kind of deadlock. *)
Definition without_progress x := (forall y, reaches x y -> fst y = fst x) /\ ~ finished p (fst x).

Theorem without_progress_iff_deadlock x : without_progress x <-> deadlock p L (fst x).
Proof.
  destruct x as [s b]. unfold without_progress, deadlock. cbn [fst]. split; intros [H N]; (split; [| exact N]).
  - intros s' G. destruct (polling_follows s s' b G) as [b' R]. apply H in R. cbn in R.
    apply (step_sum p L) in G. subst. lia.
  - assert (G : forall x y, reaches x y -> stuck p L (fst x) -> fst y = fst x).
    { induction 1 as [x | x y z S _ IH]; auto. intros U. apply polling_step_sum in S.
      destruct S as [E | [_ S]]; [| now apply U in S]. rewrite <- E. apply IH. now rewrite E. }
    intros y R. now apply (G _ _ R).
Qed.

Corollary livelocks_iff_deadlocks :
  (exists x, reaches polling_start x /\ livelock x) <-> deadlocks p L.
Proof.
  split.
  - intros ([s b] & R & V). exists s. apply livelock_iff_deadlock. eauto.
  - intros (s & R & D). destruct (proj2 (livelock_iff_deadlock s)) as (b & B & V); eauto.
Qed.

End Livelock.
