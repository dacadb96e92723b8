(** * One schedule decides

    Persistence: a step that is enabled stays enabled until it is taken.  So
    two different steps from one state can be completed to a diamond, and all
    maximal runs have the same length and the same last state. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics.
Import ListNotations.

Section Determinism.
Variables (p : program) (L : library).
Notation step := (step p L).
Notation run := (run p L).

(** ** Persistence *)

Lemma below_mono x y x' y' l : x' <= x -> y <= y' -> below x y l -> below x' y' l.
Proof. destruct l; cbn; lia. Qed.

(** Another rank's move never takes away what a rank can do. *)
Lemma ready_persists s r q : r <> q -> ready p L s r -> ready p L (advance q s) r.
Proof.
  intros H. unfold ready. rewrite head_advance_other by auto.
  destruct (head p s r) as [[d t | d t | d t] |]; auto.
  - rewrite sent_other by auto. intros [G B]. split; auto.
    apply (below_mono _ _ _ _ _ (le_n _) (received_grows _ _ _ _ _ _) B).
  - rewrite received_other by auto. intros [G B]. split; auto.
    eapply Nat.lt_le_trans; eauto. apply sent_grows.
  - rewrite sent_other by auto. apply below_mono; auto.
    apply le_n_S, received_grows.
Qed.

Lemma meets_persists s r d q : q <> r -> q <> d -> meets p L s r d -> meets p L (advance q s) r d.
Proof.
  intros H G (t & A & B & C). exists t. now rewrite !head_advance_other by auto.
Qed.

(** A rank that can move alone takes part in no rendezvous. *)
Lemma ready_excludes_meets s q r d : ready p L s q -> meets p L s r d -> q <> r /\ q <> d.
Proof.
  intros H (t & A & B & C). split; intros ->; unfold ready in H;
    rewrite ?A, ?B in H; now destruct H.
Qed.

Lemma meets_sender_only s r d r' d' : meets p L s r d -> meets p L s r' d' -> r <> d'.
Proof. intros (t & A & B & C) (t' & A' & B' & C') ->. congruence. Qed.

Lemma meets_same_sender s r d d' : meets p L s r d -> meets p L s r d' -> d = d'.
Proof. intros (t & A & B & C) (t' & A' & B' & C'). congruence. Qed.

Lemma meets_same_receiver s r r' d : meets p L s r d -> meets p L s r' d -> r = r'.
Proof. intros (t & A & B & C) (t' & A' & B' & C'). congruence. Qed.

(** ** The diamond property *)
Theorem diamond s s1 s2 : step s s1 -> step s s2 -> s1 = s2 \/ exists s3, step s1 s3 /\ step s2 s3.
Proof.
  intros H1 H2.
  destruct H1 as [s r Hr | s r d Hm]; inversion H2 as [? q Hq | ? q e He]; subst.
  - destruct (Nat.eq_dec r q) as [-> | N]; [now left | right].
    exists (advance q (advance r s)). split.
    + constructor. now apply ready_persists; auto.
    + rewrite advance_comm. constructor. now apply ready_persists.
  - destruct (ready_excludes_meets _ _ _ _ Hr He) as [N M]. right.
    exists (advance e (advance q (advance r s))). split.
    + constructor. now apply meets_persists.
    + rewrite (advance_comm q r), (advance_comm e r). constructor.
      repeat (apply ready_persists; auto).
  - destruct (ready_excludes_meets _ _ _ _ Hq Hm) as [N M]. right.
    exists (advance d (advance r (advance q s))). split.
    + rewrite (advance_comm r q), (advance_comm d q). constructor.
      repeat (apply ready_persists; auto).
    + constructor. now apply meets_persists.
  - destruct (Nat.eq_dec r q) as [-> | N].
    { left. now rewrite (meets_same_sender _ _ _ _ Hm He). }
    assert (M : d <> e) by (intros ->; now apply N, (meets_same_receiver s _ _ e)).
    assert (r <> e) by (eapply meets_sender_only; eauto).
    assert (q <> d) by (eapply meets_sender_only; eauto).
    right. exists (advance e (advance q (advance d (advance r s)))). split.
    + constructor. repeat (apply meets_persists; auto).
    + rewrite (advance_comm q d), (advance_comm e d), (advance_comm q r), (advance_comm e r).
      constructor. repeat (apply meets_persists; auto).
Qed.

(** ** All maximal runs end in the same state *)

(** If a run of [n] steps ends in a stuck state, every run from the same state
    is at most that long and can be continued to that state. *)
Lemma confluence n : forall s u, run n s u -> stuck p L u ->
  forall m s', run m s s' -> exists k, n = m + k /\ run k s' u.
Proof.
  induction n as [| n IH]; intros s u H U m s' G.
  - inversion H; subst. inversion G; subst.
    + exists 0. split; [auto | constructor].
    + exfalso. eapply U; eauto.
  - inversion H as [| ? ? s1 ? H1 H2]; subst.
    inversion G as [| m' ? s2 ? G1 G2]; subst.
    { exists (S n). split; auto. }
    destruct (diamond _ _ _ H1 G1) as [<- | (s3 & A & B)].
    + destruct (IH _ _ H2 U _ _ G2) as (k & -> & K). exists k. split; auto.
    + destruct (IH _ _ H2 U 1 s3) as (k & -> & K).
      { econstructor; eauto. constructor. }
      destruct (IH s2 u) with (m := m') (s' := s') as (k' & E & K'); auto.
      { replace (1 + k) with (S k) by lia. econstructor; eauto. }
      exists k'. split; auto. lia.
Qed.

Theorem one_schedule_decides s n m u v :
  run n s u -> stuck p L u -> run m s v -> stuck p L v -> u = v /\ n = m.
Proof.
  intros H U G V. destruct (confluence _ _ _ H U _ _ G) as (k & -> & K).
  inversion K; subst.
  - split; [auto | lia].
  - exfalso. eapply V; eauto.
Qed.

(** ** Every run ends *)

Definition size := list_sum (map (fun r => length (code p r)) (seq 0 (ranks p))).

Lemma sum_advance r s : r < length s -> list_sum (advance r s) = S (list_sum s).
Proof.
  revert r; induction s as [| x s IH]; intros [| r] H; simpl in *; try lia.
  rewrite IH; lia.
Qed.

Lemma step_sum s s' : step s s' -> list_sum s < list_sum s'.
Proof.
  destruct 1 as [s r H | s r d (t & A & B & _)].
  - unfold ready in H. destruct (head p s r) eqn:E; [| easy].
    apply head_some in E. rewrite sum_advance; lia.
  - apply head_some in A, B. rewrite !sum_advance; rewrite ?length_advance; lia.
Qed.

Definition in_range (s : state) := length s = ranks p /\ forall r, pos s r <= length (code p r).

Lemma in_range_advance s r x : in_range s -> head p s r = Some x -> in_range (advance r s).
Proof.
  intros [E H] G. apply head_some in G. destruct G as [A B].
  split; [now rewrite length_advance |]. intros q.
  destruct (Nat.eq_dec q r) as [-> | N].
  - rewrite pos_advance_same by auto. apply nth_error_Some. congruence.
  - now rewrite pos_advance_other.
Qed.

Lemma in_range_step s s' : in_range s -> step s s' -> in_range s'.
Proof.
  intros I H. destruct H as [s r H | s r d H].
  - unfold ready in H. destruct (head p s r) eqn:E; [| easy]. eapply in_range_advance; eauto.
  - assert (N := meets_sender_only _ _ _ _ _ H H). destruct H as (t & A & B & _).
    eapply in_range_advance; [eapply in_range_advance; eauto |].
    rewrite head_advance_other; eauto.
Qed.

Lemma in_range_reachable s : reachable p L s -> in_range s.
Proof.
  revert s. apply reachable_ind.
  - split; [apply length_start |]. intros r. unfold pos, start. rewrite nth_repeat. lia.
  - intros s s' _. apply in_range_step.
Qed.

Lemma sum_nth (s : state) : list_sum s = list_sum (map (pos s) (seq 0 (length s))).
Proof.
  induction s as [| x s IH]; simpl; auto. rewrite <- seq_shift, map_map, IH. reflexivity.
Qed.

Lemma sum_le {A} (f g : A -> nat) l :
  (forall x, In x l -> f x <= g x) -> list_sum (map f l) <= list_sum (map g l).
Proof.
  induction l as [| x l IH]; simpl; auto. intros H.
  assert (f x <= g x) by auto. assert (list_sum (map f l) <= list_sum (map g l)) by auto. lia.
Qed.

Lemma in_range_sum s : in_range s -> list_sum s <= size.
Proof. intros [E H]. rewrite sum_nth, E. apply sum_le. auto. Qed.

(** No run is longer than the number of operations. *)
Theorem runs_are_finite n s : run n (start p) s -> n <= size.
Proof.
  intros H. assert (R : reachable p L s) by (exists n; auto).
  apply in_range_reachable, in_range_sum in R.
  assert (G : forall n s s', run n s s' -> list_sum s + n <= list_sum s').
  { induction 1 as [| ? ? ? ? A _ IH]; [lia |]. apply step_sum in A. lia. }
  apply G in H. lia.
Qed.

End Determinism.
