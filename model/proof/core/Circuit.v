(** * Deadlock and wait-for circuits

    In the wait-for graph of a state an arc leads from a rank that cannot move
    to the peer of its next operation.  For programs in which every message
    that is sent is also received, a deadlock is reachable iff a state with a
    wait-for circuit is reachable. *)

From Coq Require Import List Arith Lia Bool Permutation.
From Ringproof Require Import Semantics Determinism Checker Slack.
Import ListNotations.

Definition peer (x : op) := match x with Send q _ | Recv q _ | Wait q _ => q end.

(** No step of [s] moves rank [r]. *)
Definition cannot_move p L s r :=
  ~ ready p L s r /\ forall q, ~ meets p L s r q /\ ~ meets p L s q r.

Definition waits_for p L s r q :=
  cannot_move p L s r /\ exists x, head p s r = Some x /\ peer x = q.

Definition circuit p L s (c : list nat) :=
  c <> [] /\ forall i, i < length c -> waits_for p L s (nth i c 0) (nth (S i mod length c) c 0).

(** Every message sent is received, and no rank is named that does not exist. *)
Definition balanced p :=
  (forall r d t, count (Send d t) (code p r) = count (Recv r t) (code p d)) /\
  (forall r, ranks p <= r -> code p r = []).

(** ** A circuit is a deadlock in the making *)
Lemma waits_for_stays p L s s' (C : nat -> Prop) : (forall r, C r -> exists q, C q /\ waits_for p L s r q) ->
  step p L s s' -> forall r, C r -> head p s' r = head p s r /\ exists q, C q /\ waits_for p L s' r q.
Proof.
  intros H G.
  assert (K : (forall q, C q -> pos s' q = pos s q) /\ (forall q, C q -> head p s' q = head p s q)).
  { destruct G as [s q G | s q e G].
    - assert (N : forall r, C r -> r <> q).
      { intros r Cr ->. destruct (H q Cr) as (? & _ & [M _] & _). auto. }
      split; intros r Cr; [apply pos_advance_other | apply head_advance_other]; auto.
    - assert (N : forall r, C r -> r <> q /\ r <> e).
      { intros r Cr. destruct (H r Cr) as (? & _ & [_ M] & _).
        split; intros ->; first [exact (proj1 (M _) G) | exact (proj2 (M _) G)]. }
      split; intros r Cr; destruct (N r Cr);
        [rewrite !pos_advance_other | rewrite !head_advance_other]; auto. }
  destruct K as [Kp Kh]. intros r Cr. split; auto.
  destruct (H r Cr) as (q & Cq & [M N] & x & E & <-). exists (peer x). split; auto.
  split; [split |].
  - intros A. apply M. unfold ready in *. rewrite Kh, E in A by auto. rewrite E.
    destruct x; cbn in *; unfold sent, received in *; rewrite !Kp in A; auto.
  - intros e. split; intros (t & A & B & D).
    + rewrite Kh in A by auto. assert (x = Send e t) by congruence. subst x. cbn in Cq.
      rewrite Kh in B by auto. apply (proj1 (N e)). exists t. auto.
    + rewrite Kh in B by auto. assert (x = Recv e t) by congruence. subst x. cbn in Cq.
      rewrite Kh in A by auto. apply (proj2 (N e)). exists t. auto.
  - exists x. rewrite Kh; auto.
Qed.

Theorem circuit_deadlocks p L s c : reachable p L s -> circuit p L s c -> deadlocks p L.
Proof.
  intros R [NE H]. apply deadlocks_iff_not_free. rewrite free_iff_finishes.
  intros (u & [m G] & F). destruct R as [n R].
  destruct (confluence p L _ _ _ G (finished_stuck _ _ _ F) _ _ R) as (k & _ & K).
  set (C := fun r => In r c).
  assert (W : forall r, C r -> exists q, C q /\ waits_for p L s r q).
  { intros r Cr. destruct (In_nth _ _ 0 Cr) as (i & Hi & <-). eexists. split; [| now apply H].
    apply nth_In. apply Nat.mod_upper_bound. lia. }
  assert (Z : forall k s u, run p L k s u -> (forall r, C r -> exists q, C q /\ waits_for p L s r q) ->
              forall r, C r -> head p u r = head p s r).
  { induction 1 as [| j a b e A _ IH]; auto. intros W' r Cr.
    assert (S := waits_for_stays _ _ _ _ _ W' A).
    rewrite IH; auto; [now apply S |]. intros q Cq. now apply S. }
  destruct c as [| r c]; [easy |]. assert (Cr : C r) by now left.
  destruct (W r Cr) as (q & _ & _ & x & E & _).
  rewrite <- (Z _ _ _ K W r Cr), F in E. easy.
Qed.

(** ** In a deadlock there is a circuit *)
Lemma stuck_cannot_move p L s r : stuck p L s -> cannot_move p L s r.
Proof.
  intros U. split.
  - intros A. eapply U. constructor. eauto.
  - intros q. split; intros A; eapply U; eapply together; eauto.
Qed.

Lemma count_head p s r x : head p s r = Some x ->
  count x (firstn (pos s r) (code p r)) < count x (code p r).
Proof.
  intros H. apply head_some in H. destruct H as [_ H].
  assert (G : count x (firstn (S (pos s r)) (code p r)) <= count x (code p r)).
  { rewrite <- (firstn_skipn (S (pos s r)) (code p r)) at 2. rewrite count_app. lia. }
  rewrite (firstn_succ _ _ _ H), count_app, count_one in G.
  destruct (op_eq_dec x x); [lia | easy].
Qed.

Lemma count_ended p s r x : head p s r = None -> r < length s ->
  count x (firstn (pos s r) (code p r)) = count x (code p r).
Proof.
  intros H G. rewrite head_at in H by auto. apply nth_error_None in H. now rewrite firstn_all2.
Qed.

Lemma count_prefix x i l : count x (firstn i l) <= count x l.
Proof. rewrite <- (firstn_skipn i l) at 2. rewrite count_app. lia. Qed.

(** The peer of a rank that cannot move has not ended. *)
Lemma peer_unfinished p L s r x : balanced p -> reachable p L s -> stuck p L s ->
  head p s r = Some x -> exists y, head p s (peer x) = Some y.
Proof.
  intros [Bal Out] R U H. destruct (head p s (peer x)) as [y |] eqn:E; [eauto | exfalso].
  assert (LEN := length_reachable _ _ _ R).
  assert (Full : forall z, count z (firstn (pos s (peer x)) (code p (peer x))) = count z (code p (peer x))).
  { intros z. destruct (le_lt_dec (length s) (peer x)) as [G | G].
    - rewrite Out by lia. now rewrite firstn_nil.
    - now apply count_ended. }
  destruct (stuck_cannot_move _ _ _ r U) as [M _]. apply M. unfold ready. rewrite H.
  destruct x as [d t | q t | d t]; cbn [peer] in *.
  - assert (A := count_head _ _ _ _ H). rewrite Bal, <- Full in A. split.
    + intros D. assert (B := direct_balanced _ _ _ R _ _ _ D). unfold sent, received in B. lia.
    + unfold sent, received. destruct (room L r d t); cbn; [lia | auto].
  - assert (A := count_head _ _ _ _ H). rewrite <- Bal, <- Full in A. split.
    + intros D. assert (B := direct_balanced _ _ _ R _ _ _ D). unfold sent, received in B. lia.
    + exact A.
  - unfold sent, received. rewrite Full, <- Bal.
    assert (A := count_prefix (Send d t) (pos s r) (code p r)).
    destruct (rest L r d t); cbn; [lia | auto].
Qed.

(** A walk among finitely many places comes back. *)
Lemma walk_returns (x : nat -> nat) P : (forall i, x i < P) -> exists i j, i < j /\ x i = x j.
Proof.
  intros H.
  assert (G : forall n, NoDup (map x (seq 0 n)) \/ exists i j, i < j /\ x i = x j).
  { induction n as [| n [IH | IH]]; [left; constructor | | now right].
    destruct (in_dec Nat.eq_dec (x n) (map x (seq 0 n))) as [I | I].
    - right. apply in_map_iff in I. destruct I as (i & E & I). apply in_seq in I.
      exists i, n. split; [lia | auto].
    - left. rewrite seq_S, map_app. apply (Permutation_NoDup (Permutation_cons_append _ _)).
      now constructor. }
  destruct (G (S P)) as [N | N]; auto. exfalso.
  apply NoDup_incl_length with (l' := seq 0 P) in N.
  - rewrite map_length, !seq_length in N. lia.
  - intros y Hy. apply in_map_iff in Hy. destruct Hy as (i & <- & _).
    apply in_seq. split; [lia | apply H].
Qed.

Theorem deadlock_has_circuit p L s :
  balanced p -> reachable p L s -> deadlock p L s -> exists c, circuit p L s c.
Proof.
  intros Bal R [U NF].
  set (f := fun r => match head p s r with Some x => peer x | None => 0 end).
  assert (exists r0, head p s r0 <> None) as [r0 H0].
  { destruct (at_end p s) eqn:E; [now apply (finished_dec _ L) in E |].
    unfold at_end in E. rewrite <- not_true_iff_false, forallb_forall in E.
    destruct (Exists_dec (fun r => head p s r <> None) (seq 0 (ranks p))) as [X | X].
    - intros r. destruct (head p s r); [left | right]; congruence.
    - apply Exists_exists in X. destruct X as (r & _ & X). eauto.
    - exfalso. apply E. intros r Hr. destruct (head p s r) eqn:F; auto.
      exfalso. apply X, Exists_exists. exists r. split; congruence. }
  set (x := fun i => Nat.iter i f r0).
  assert (A : forall i, head p s (x i) <> None).
  { induction i as [| i IH]; auto. change (x (S i)) with (f (x i)). unfold f.
    destruct (head p s (x i)) as [y |] eqn:E; [| easy].
    destruct (peer_unfinished _ _ _ _ _ Bal R U E) as [z ->]. easy. }
  assert (W : forall i, waits_for p L s (x i) (x (S i))).
  { intros i. split; [now apply stuck_cannot_move |]. specialize (A i).
    change (x (S i)) with (f (x i)). unfold f.
    destruct (head p s (x i)) as [y |]; [eauto | easy]. }
  destruct (walk_returns x (length s)) as (i & j & IJ & E).
  { intros i. specialize (A i). destruct (head p s (x i)) eqn:F; [now apply head_some in F | easy]. }
  exists (map x (seq i (j - i))).
  assert (Len : length (map x (seq i (j - i))) = j - i) by now rewrite map_length, seq_length.
  assert (Nth : forall k, k < j - i -> nth k (map x (seq i (j - i))) 0 = x (i + k)).
  { intros k Hk. rewrite nth_indep with (d' := x 0) by lia. rewrite map_nth, seq_nth; auto. }
  split.
  - intros Z. rewrite Z in Len. cbn in Len. lia.
  - rewrite Len. intros k Hk. rewrite Nth by auto.
    destruct (Nat.eq_dec (S k) (j - i)) as [Q | Q].
    + rewrite Q, Nat.mod_same, Nth by lia. rewrite Nat.add_0_r, E.
      replace j with (S (i + k)) by lia. apply W.
    + rewrite Nat.mod_small, Nth by lia. rewrite Nat.add_succ_r. apply W.
Qed.

(** *** A deadlock is reachable iff a wait-for circuit is *)
Theorem deadlock_iff_circuit p L : balanced p ->
  deadlocks p L <-> exists s c, reachable p L s /\ circuit p L s c.
Proof.
  intros Bal. split.
  - intros (s & R & D). destruct (deadlock_has_circuit _ _ _ Bal R D) as [c H]. eauto.
  - intros (s & c & R & H). eapply circuit_deadlocks; eauto.
Qed.
