(** * Timetables: a common key for both ends of each message

    A timetable gives each operation a time (a natural number) so that times
    increase along every rank, and every message is received at the time at
    which it is sent (a rendezvous), or a fixed delay later (a channel that
    stores messages).  A program with a timetable is deadlock-free: the rank
    whose next operation has the least time can always move.  With all delays 0
    this is statement 9: orders derived from one key that both ends know. *)

From Coq Require Import List Arith Lia Bool Permutation.
From Ringproof Require Import Semantics Determinism Checker Slack TimedLists.
Import ListNotations.

Record timetable (p : program) (L : library) (tt : nat -> timed) (delay : nat -> nat -> nat -> nat) : Prop := {
  tt_code : forall r, code p r = map snd (tt r);
  tt_range : forall r, ranks p <= r -> tt r = [];
  tt_increasing : forall r, increasing (tt r);
  tt_sent : forall r d t k, In (k, Send d t) (tt r) -> In (k + delay r d t, Recv r t) (tt d);
  tt_received : forall r d t k, In (k, Recv r t) (tt d) ->
    exists k', k = k' + delay r d t /\ In (k', Send d t) (tt r);
  tt_direct : forall r d t, direct L r d t <-> delay r d t = 0;
  (** where messages are stored, each is received before the next is sent *)
  tt_stored : forall r d t k k', ~ direct L r d t ->
    In (k, Send d t) (tt r) -> In (k', Send d t) (tt r) -> k < k' -> k + delay r d t < k';
  (** a wait comes after the receives of the sends before it *)
  tt_wait : forall r d t k k', In (k, Send d t) (tt r) -> In (k', Wait d t) (tt r) ->
    k < k' -> k + delay r d t < k' }.

Section Timetable.
Variables (p : program) (L : library) (tt : nat -> timed) (delay : nat -> nat -> nat -> nat).
Hypothesis T : timetable p L tt delay.

Let tt_code := tt_code _ _ _ _ T.
Let tt_increasing := tt_increasing _ _ _ _ T.
Let tt_sent := tt_sent _ _ _ _ T.
Let tt_received := tt_received _ _ _ _ T.

(** The sends before a time are the receives before that time and the delay. *)
Lemma tally_matched k r d t :
  tally k (Send d t) (tt r) = tally (k + delay r d t) (Recv r t) (tt d).
Proof.
  set (shift := fun x : nat * op => (fst x + delay r d t, Recv r t)).
  unfold tally. rewrite <- (map_length shift). apply Permutation_length, NoDup_Permutation.
  - assert (N := increasing_NoDup _ (tt_increasing r)).
    apply (NoDup_filter (early k (Send d t))) in N. revert N.
    assert (H : forall x, In x (filter (early k (Send d t)) (tt r)) -> snd x = Send d t).
    { intros x X. apply filter_In in X. destruct X as [_ X]. now apply early_spec in X. }
    induction 1 as [| x l X N IH]; cbn; constructor.
    + intros I. apply in_map_iff in I. destruct I as (y & E & Y). apply X.
      assert (snd x = Send d t) by (apply H; now left).
      assert (snd y = Send d t) by (apply H; now right).
      destruct x, y. unfold shift in E. cbn in *. injection E as E. subst.
      replace n with n0 by lia. auto.
    + apply IH. intros; apply H; now right.
  - apply NoDup_filter, increasing_NoDup, tt_increasing.
  - intros [k' x]. rewrite in_map_iff, filter_In. split.
    + intros ([j y] & E & I). apply filter_In in I. destruct I as [I J].
      apply early_spec in J. cbn in *. destruct J as [J ->]. unfold shift in E. cbn in E.
      injection E as <- <-. split; [now apply tt_sent |]. apply early_spec. cbn. split; [lia | auto].
    + intros [I J]. apply early_spec in J. cbn in J. destruct J as [J ->].
      destruct (tt_received _ _ _ _ I) as (j & -> & I').
      exists (j, Send d t). split; [reflexivity |]. apply filter_In. split; auto.
      apply early_spec. cbn. split; [lia | auto].
Qed.

(** Every operation that is due before [k] has been completed. *)
Definition done_before (s : state) k :=
  forall r i x, nth_error (tt r) i = Some x -> fst x < k -> i < pos s r.

Definition next_at (s : state) r := nth_error (tt r) (pos s r).

Lemma head_next s r : reachable p L s ->
  head p s r = match next_at s r with Some x => Some (snd x) | None => None end.
Proof.
  intros R. apply length_reachable in R. unfold next_at.
  destruct (le_lt_dec (ranks p) r) as [G | G].
  - rewrite head_out by lia. rewrite (tt_range _ _ _ _ T) by auto. now destruct (pos s r).
  - rewrite head_at by lia. rewrite tt_code. apply nth_error_map.
Qed.

Lemma sent_tally s r d t : sent p s r d t = count (Send d t) (map snd (firstn (pos s r) (tt r))).
Proof. unfold sent. now rewrite tt_code, firstn_map. Qed.

Lemma received_tally s r d t : received p s r d t = count (Recv r t) (map snd (firstn (pos s d) (tt d))).
Proof. unfold received. now rewrite tt_code, firstn_map. Qed.

(** In a rendezvous the other end stands at the same time. *)
Lemma partner_at s r d t k : reachable p L s -> done_before s k -> direct L r d t ->
  next_at s r = Some (k, Send d t) \/ next_at s d = Some (k, Recv r t) ->
  next_at s r = Some (k, Send d t) /\ next_at s d = Some (k, Recv r t).
Proof.
  intros R B D H.
  assert (Z := proj1 (tt_direct _ _ _ _ T r d t) D).
  assert (E := direct_balanced _ _ _ R _ _ _ D). rewrite sent_tally, received_tally in E.
  assert (M := tally_matched k r d t). rewrite Z, Nat.add_0_r in M.
  assert (ahead : forall q i x, nth_error (tt q) i = Some (k, x) -> pos s q <> i ->
    tally k x (tt q) < count x (map snd (firstn (pos s q) (tt q)))).
  { intros q i x I N.
    assert (i <= pos s q).
    { destruct i as [| i]; [lia |].
      destruct (nth_error (tt q) i) as [y |] eqn:Y.
      - apply (B q i y Y). apply (increasing_nth _ _ _ _ _ (tt_increasing q) (Nat.lt_succ_diag_r i) Y I).
      - apply nth_error_None in Y. assert (S i < length (tt q)) by (apply nth_error_Some; congruence). lia. }
    assert (G : S (tally k x (tt q)) <= count x (map snd (firstn (S i) (tt q)))).
    { rewrite (firstn_succ _ _ _ I), map_app, count_app. cbn [map snd]. rewrite count_one.
      destruct (op_eq_dec x x); [| easy].
      assert (tally k x (tt q) <= count x (map snd (firstn i (tt q)))); [| lia].
      apply tally_covers. intros j y J Y.
      destruct (Nat.lt_trichotomy j i) as [C | [C | C]]; auto.
      - subst. rewrite I in J. injection J as <-. cbn in Y. lia.
      - assert (X := increasing_nth _ _ _ _ _ (tt_increasing q) C I J). cbn in X. lia. }
    rewrite <- !firstn_map in *.
    assert (C := count_firstn_mono x (map snd (tt q)) (S i) (pos s q)). lia. }
  destruct H as [H | H].
  - split; auto. unfold next_at in *.
    assert (I := nth_error_In _ _ H). apply tt_sent in I. rewrite Z, Nat.add_0_r in I.
    apply In_nth_error in I. destruct I as [i I].
    destruct (Nat.eq_dec (pos s d) i) as [-> | N]; auto.
    assert (X := ahead _ _ _ I N).
    assert (Y := tally_exact _ _ _ (Send d t) _ (tt_increasing r) H). lia.
  - split; auto. unfold next_at in *.
    assert (I := nth_error_In _ _ H). apply tt_received in I. destruct I as (k' & Q & I).
    rewrite Z, Nat.add_0_r in Q. subst k'.
    apply In_nth_error in I. destruct I as [i I].
    destruct (Nat.eq_dec (pos s r) i) as [-> | N]; auto.
    assert (X := ahead _ _ _ I N).
    assert (Y := tally_exact _ _ _ (Recv r t) _ (tt_increasing d) H). lia.
Qed.

(** What is next in time can be done. *)
Lemma due_moves s r k x : reachable p L s -> done_before s k -> next_at s r = Some (k, x) ->
  exists s', step p L s s'.
Proof.
  intros R B H. assert (Hd := head_next s r R). rewrite H in Hd. cbn in Hd.
  assert (Cov : forall q o, tally k o (tt q) <= count o (map snd (firstn (pos s q) (tt q)))).
  { intros q o. apply tally_covers. exact (B q). }
  assert (Exa := fun o => tally_exact _ _ _ o _ (tt_increasing r) H).
  assert (Prev : forall d t, (forall j, In (j, Send d t) (tt r) -> j < k -> j + delay r d t < k) ->
                 sent p s r d t <= received p s r d t).
  { intros d t P. rewrite sent_tally, received_tally.
    specialize (Exa (Send d t)). specialize (Cov d (Recv r t)).
    assert (tally k (Send d t) (tt r) <= tally k (Recv r t) (tt d)); [| lia].
    rewrite tally_matched. apply tally_le. intros [j y] I J. apply early_spec in J. apply early_spec.
    cbn in *. destruct J as [J ->]. split; auto.
    destruct (tt_received _ _ _ _ I) as (j' & -> & I'). apply P; auto. lia. }
  destruct x as [d t | q t | d t].
  - destruct (direct_dec L r d t) as [D | D].
    + destruct (partner_at s r d t k) as [_ H']; auto.
      eexists. apply (together p L s r d). exists t.
      rewrite (head_next s d R), H'. auto.
    + eexists. apply (alone p L s r). unfold ready. rewrite Hd. split; auto.
      assert (sent p s r d t <= received p s r d t).
      { apply Prev. intros j J K. eapply (tt_stored _ _ _ _ T); eauto. eapply nth_error_In; eauto. }
      unfold direct in D. destruct (room L r d t) as [[| m] |]; cbn; auto; lia || tauto.
  - destruct (direct_dec L q r t) as [D | D].
    + destruct (partner_at s q r t k) as [H' _]; auto.
      eexists. apply (together p L s q r). exists t.
      rewrite (head_next s q R), H'. auto.
    + eexists. apply (alone p L s r). unfold ready. rewrite Hd. split; auto.
      rewrite sent_tally, received_tally. specialize (Exa (Recv q t)). specialize (Cov q (Send r t)).
      rewrite tally_matched in Cov.
      assert (Z : delay q r t <> 0) by (intros Z; now apply D, (tt_direct _ _ _ _ T)).
      assert (tally k (Recv q t) (tt r) < tally (k + delay q r t) (Recv q t) (tt r)); [| lia].
      apply nth_error_split in H. destruct H as (l1 & l2 & E & _).
      rewrite E. unfold tally. rewrite !filter_app, !app_length. cbn [filter].
      assert (early k (Recv q t) (k, Recv q t) = false) as ->.
      { rewrite <- not_true_iff_false, early_spec. cbn. lia. }
      assert (early (k + delay q r t) (Recv q t) (k, Recv q t) = true) as ->.
      { apply early_spec. cbn. split; [lia | auto]. }
      cbn [length].
      assert (W : forall l, length (filter (early k (Recv q t)) l) <=
                            length (filter (early (k + delay q r t) (Recv q t)) l)).
      { intros l. apply tally_le. intros x _ X. apply early_spec in X. apply early_spec.
        split; [lia | tauto]. }
      specialize (W l1) as W1. specialize (W l2) as W2. lia.
  - eexists. apply (alone p L s r). unfold ready. rewrite Hd.
    assert (sent p s r d t <= received p s r d t).
    { apply Prev. intros j J K. eapply (tt_wait _ _ _ _ T); eauto. eapply nth_error_In; eauto. }
    destruct (rest L r d t); cbn; auto; lia.
Qed.

(** Among the first [n] ranks that have not ended, one is next in time. *)
Lemma least_next s n : (forall r, r < n -> next_at s r = None) \/
  exists r k x, next_at s r = Some (k, x) /\
    forall q k' x', q < n -> next_at s q = Some (k', x') -> k <= k'.
Proof.
  induction n as [| n [IH | (r & k & x & H & IH)]].
  - left. intros; lia.
  - destruct (next_at s n) as [[k x] |] eqn:E.
    + right. exists n, k, x. split; auto. intros q k' x' Q F.
      destruct (Nat.eq_dec q n) as [-> |]; [rewrite E in F; injection F; lia |].
      rewrite IH in F by lia. easy.
    + left. intros r Hr. destruct (Nat.eq_dec r n) as [-> |]; auto. apply IH. lia.
  - right. destruct (next_at s n) as [[j y] |] eqn:E.
    + destruct (le_lt_dec k j).
      * exists r, k, x. split; auto. intros q k' x' Q F.
        destruct (Nat.eq_dec q n) as [-> |]; [rewrite E in F; injection F; lia |].
        eapply IH; eauto. lia.
      * exists n, j, y. split; auto. intros q k' x' Q F.
        destruct (Nat.eq_dec q n) as [-> |]; [rewrite E in F; injection F; lia |].
        assert (k <= k') by (eapply IH; eauto; lia). lia.
    + exists r, k, x. split; auto. intros q k' x' Q F.
      destruct (Nat.eq_dec q n) as [-> |]; [congruence |]. eapply IH; eauto. lia.
Qed.

(** *** A program with a timetable is deadlock-free *)
Theorem timetable_deadlock_free : deadlock_free p L.
Proof.
  intros s R [U N]. apply N. intros r.
  destruct (least_next s (ranks p)) as [H | (q & k & x & H & M)].
  - rewrite (head_next s r R). destruct (le_lt_dec (ranks p) r) as [G | G].
    + unfold next_at. rewrite (tt_range _ _ _ _ T) by auto. now destruct (pos s r).
    + now rewrite H.
  - exfalso. destruct (due_moves s q k x R) as [s' S]; auto; [| eapply U; eauto].
    intros q' i [k' y] I K. cbn in K.
    destruct (le_lt_dec (ranks p) q') as [G | G].
    { rewrite (tt_range _ _ _ _ T) in I by auto. now destruct i. }
    destruct (le_lt_dec (pos s q') i) as [C |]; auto. exfalso.
    destruct (next_at s q') as [[k'' z] |] eqn:E.
    + assert (k <= k'') by (eapply M; eauto).
      destruct (Nat.eq_dec (pos s q') i) as [<- | D].
      * unfold next_at in E. rewrite E in I. injection I as -> ->. lia.
      * assert (pos s q' < i) as F by lia.
        assert (X := increasing_nth _ _ _ _ _ (tt_increasing q') F E I). cbn in X. lia.
    + apply nth_error_None in E. assert (i < length (tt q')) by (apply nth_error_Some; congruence). lia.
Qed.

End Timetable.
