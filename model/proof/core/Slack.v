(** * Slack: more buffering never adds a deadlock

    For wildcard-free programs.  A run under a library [L] is also a run under
    every library with at least the room of [L], once each rendezvous is taken
    apart into its send and its receive.  So a run that finishes under [L]
    finishes under the larger library, and one finished run is enough. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker.
Import ListNotations.

(** ** What was sent through a rendezvous was received *)
Lemma direct_balanced p L s : reachable p L s ->
  forall r d t, direct L r d t -> sent p s r d t = received p s r d t.
Proof.
  revert s. apply (reachable_ind p L (fun s => forall r d t, direct L r d t ->
    sent p s r d t = received p s r d t)).
  - intros r d t _. unfold sent, received, pos, start. now rewrite !nth_repeat.
  - intros s s' _ I H r d t D. specialize (I r d t D).
    destruct H as [s q H | s q e H].
    + assert (A : sent p (advance q s) r d t = sent p s r d t).
      { destruct (Nat.eq_dec r q) as [-> | N]; [| now apply sent_other].
        unfold ready in H. destruct (head p s q) as [x |] eqn:E; [| easy].
        unfold sent. rewrite (count_advance _ _ _ _ _ E).
        destruct (op_eq_dec x (Send d t)) as [-> |]; [| lia]. now destruct H. }
      assert (B : received p (advance q s) r d t = received p s r d t).
      { destruct (Nat.eq_dec d q) as [-> | N]; [| now apply received_other].
        unfold ready in H. destruct (head p s q) as [x |] eqn:E; [| easy].
        unfold received. rewrite (count_advance _ _ _ _ _ E).
        destruct (op_eq_dec x (Recv r t)) as [-> |]; [| lia]. now destruct H. }
      lia.
    + assert (N := meets_sender_only _ _ _ _ _ _ _ H H). destruct H as (u & A & B & C).
      assert (B' := B). rewrite <- (head_advance_other p s q e) in B' by auto.
      assert (X : sent p (advance e (advance q s)) r d t =
                  sent p s r d t + (if Nat.eq_dec r q then if op_eq_dec (Send e u) (Send d t) then 1 else 0 else 0)).
      { destruct (Nat.eq_dec r q) as [-> | M].
        - rewrite sent_other by auto. unfold sent. now rewrite (count_advance _ _ _ _ _ A).
        - destruct (Nat.eq_dec r e) as [-> | M'].
          + unfold sent at 1. rewrite (count_advance _ _ _ _ _ B').
            destruct (op_eq_dec (Recv q u) (Send d t)); [easy |].
            fold (sent p (advance q s) e d t). rewrite sent_other by auto. lia.
          + rewrite !sent_other by auto. lia. }
      assert (Y : received p (advance e (advance q s)) r d t =
                  received p s r d t +
                  (if Nat.eq_dec d e then if op_eq_dec (Recv q u) (Recv r t) then 1 else 0 else 0)).
      { destruct (Nat.eq_dec d e) as [-> | M].
        - unfold received at 1. rewrite (count_advance _ _ _ _ _ B').
          fold (received p (advance q s) r e t). now rewrite received_other by auto.
        - rewrite received_other by auto. destruct (Nat.eq_dec d q) as [-> | M'].
          + unfold received. rewrite (count_advance _ _ _ _ _ A).
            destruct (op_eq_dec (Send e u) (Recv r t)); [easy | lia].
          + rewrite received_other by auto. lia. }
      rewrite X, Y, I.
      destruct (Nat.eq_dec r q), (Nat.eq_dec d e), (op_eq_dec (Send e u) (Send d t)),
        (op_eq_dec (Recv q u) (Recv r t)); try lia; congruence.
Qed.

(** ** Larger libraries *)
Definition limit_le l l' :=
  match l, l' with
  | Upto k, Upto k' => k <= k'
  | _, Unlimited => True
  | Unlimited, Upto _ => False
  end.

Definition at_least (L L' : library) : Prop :=
  forall r d t, limit_le (room L r d t) (room L' r d t) /\ limit_le (rest L r d t) (rest L' r d t).

Lemma below_at_least x y l l' : limit_le l l' -> below x y l -> below x y l'.
Proof. destruct l, l'; cbn; auto; try lia; tauto. Qed.

Lemma not_direct_at_least L L' r d t : at_least L L' -> ~ direct L r d t -> ~ direct L' r d t.
Proof.
  intros H N D. apply N. destruct (H r d t) as [A _]. unfold direct in *. rewrite D in A.
  destruct (room L r d t) as [k |]; cbn in A; [f_equal; lia | easy].
Qed.

(** One step under [L] is one or two steps under a larger library. *)
Lemma step_at_least p L L' s s' : at_least L L' -> reachable p L s -> step p L s s' ->
  exists n, run p L' n s s'.
Proof.
  intros H R G. destruct G as [s r G | s r d G].
  - exists 1. econstructor; [| constructor]. constructor. unfold ready in *.
    destruct (head p s r) as [[d t | q t | d t] |]; auto.
    + destruct G as [N B]. split; [eapply not_direct_at_least; eauto |].
      eapply below_at_least; eauto. apply H.
    + destruct G as [N B]. split; [eapply not_direct_at_least; eauto | auto].
    + eapply below_at_least; eauto. apply H.
  - assert (N := meets_sender_only _ _ _ _ _ _ _ G G). destruct G as (t & A & B & C).
    destruct (direct_dec L' r d t) as [D | D].
    { exists 1. econstructor; [| constructor]. constructor. exists t. auto. }
    assert (E := direct_balanced _ _ _ R _ _ _ C).
    exists 2. econstructor; [| econstructor; [| constructor]]; constructor; unfold ready.
    + rewrite A. split; auto. unfold direct in D. rewrite E.
      destruct (room L' r d t) as [[| k] |]; cbn; try lia; tauto.
    + rewrite head_advance_other, B by auto. split; auto.
      rewrite received_other by auto. unfold sent. rewrite (count_advance _ _ _ _ _ A).
      fold (sent p s r d t). destruct (op_eq_dec (Send d t) (Send d t)); [lia | easy].
Qed.

Lemma reachable_at_least p L L' s : at_least L L' -> reachable p L s -> reachable p L' s.
Proof.
  intros H. revert s. apply reachable_ind.
  - exists 0. constructor.
  - intros s s' R [n I] G. destruct (step_at_least _ _ _ _ _ H R G) as [m K].
    exists (n + m). eapply run_app; eauto.
Qed.

(** *** Slack elasticity *)
Theorem slack p L L' : at_least L L' -> deadlock_free p L -> deadlock_free p L'.
Proof.
  intros H F. apply free_iff_finishes in F. destruct F as (s & R & E).
  apply free_iff_finishes. exists s. split; auto. eapply reachable_at_least; eauto.
Qed.

Corollary slack_rendezvous p L : deadlock_free p rendezvous -> deadlock_free p L.
Proof.
  apply slack. intros r d t.
  split; [destruct (room L r d t) | destruct (rest L r d t)]; cbn; auto; lia.
Qed.

Corollary slack_bounded p j k : j <= k -> deadlock_free p (bounded j) -> deadlock_free p (bounded k).
Proof. intros H. apply slack. intros r d t. cbn. lia. Qed.
