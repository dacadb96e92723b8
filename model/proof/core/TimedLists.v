(** * Lists of operations with times

    Facts about increasing lists, and how many times an operation stands in
    such a list before a given time. *)

From Coq Require Import List Arith Lia Bool Sorted Permutation.
From Ringproof Require Import Semantics.
Import ListNotations.

(** A rank's operations with their times. *)
Definition timed := list (nat * op).

Definition increasing (l : timed) := StronglySorted lt (map fst l).

(** ** Increasing lists *)
Lemma StronglySorted_app (l l' : list nat) :
  StronglySorted lt l -> StronglySorted lt l' -> (forall x y, In x l -> In y l' -> x < y) ->
  StronglySorted lt (l ++ l').
Proof.
  induction 1 as [| x l Sl IH F]; cbn; auto. intros S' H. constructor; auto.
  apply Forall_app. split; auto. apply Forall_forall. auto.
Qed.

Lemma increasing_app l l' : increasing l -> increasing l' ->
  (forall x y, In x l -> In y l' -> fst x < fst y) -> increasing (l ++ l').
Proof.
  unfold increasing. rewrite map_app. intros A B H. apply StronglySorted_app; auto.
  intros x y X Y. apply in_map_iff in X, Y.
  destruct X as (x' & <- & X), Y as (y' & <- & Y). auto.
Qed.

(** Blocks that lie in consecutive intervals of time make an increasing list. *)
Lemma increasing_blocks (f : nat -> timed) (lo : nat -> nat) n : forall a,
  (forall i, a <= i < a + n -> increasing (f i)) ->
  (forall i x, a <= i < a + n -> In x (f i) -> lo i <= fst x < lo (S i)) ->
  (forall i, lo i <= lo (S i)) ->
  increasing (flat_map f (seq a n)).
Proof.
  induction n as [| n IH]; intros a A B C; cbn; [constructor |].
  apply increasing_app.
  - apply A. lia.
  - apply IH; auto; intros; [apply A | apply B]; auto; lia.
  - intros x y X Y. apply in_flat_map in Y. destruct Y as (i & I & Y). apply in_seq in I.
    assert (fst x < lo (S a)) by (apply B; auto; lia).
    assert (lo i <= fst y) by (apply B; auto; lia).
    assert (M : forall j k, j <= k -> lo j <= lo k) by (induction 1; auto; eauto using Nat.le_trans).
    specialize (M (S a) i). lia.
Qed.

Lemma increasing_nth l i j x y : increasing l -> i < j ->
  nth_error l i = Some x -> nth_error l j = Some y -> fst x < fst y.
Proof.
  unfold increasing. revert i j; induction l as [| z l IH]; intros i j S H X Y.
  - destruct i; easy.
  - cbn in S. apply StronglySorted_inv in S. destruct S as [S F].
    destruct j as [| j]; [lia |]. destruct i as [| i]; cbn in *.
    + injection X as ->. apply nth_error_In in Y. rewrite Forall_forall in F.
      apply F. now apply in_map.
    + eapply (IH i j); eauto. lia.
Qed.

Lemma increasing_NoDup l : increasing l -> NoDup l.
Proof.
  intros H. apply NoDup_nth_error. intros i j Hi E.
  destruct (nth_error l i) as [x |] eqn:X; [| apply nth_error_None in X; lia].
  destruct (Nat.lt_trichotomy i j) as [G | [G | G]]; auto.
  - assert (fst x < fst x) by (eapply (increasing_nth l i j); eauto). lia.
  - assert (fst x < fst x) by (eapply (increasing_nth l j i); eauto). lia.
Qed.

(** ** How often an operation is scheduled before a time *)
Definition early k (o : op) (x : nat * op) : bool :=
  (fst x <? k) && (if op_eq_dec (snd x) o then true else false).

Definition tally k o (l : timed) := length (filter (early k o) l).

Lemma early_spec k o x : early k o x = true <-> fst x < k /\ snd x = o.
Proof.
  unfold early. rewrite andb_true_iff, Nat.ltb_lt. destruct (op_eq_dec (snd x) o); intuition congruence.
Qed.

Lemma count_filter o l : count o (map snd l) =
  length (filter (fun x : nat * op => if op_eq_dec (snd x) o then true else false) l).
Proof.
  unfold count. induction l as [| x l IH]; simpl; auto.
  destruct (op_eq_dec (snd x) o); cbn; auto.
Qed.

Lemma tally_le (f g : nat * op -> bool) l : (forall x, In x l -> f x = true -> g x = true) ->
  length (filter f l) <= length (filter g l).
Proof.
  induction l as [| x l IH]; cbn; auto. intros H.
  assert (length (filter f l) <= length (filter g l)) by auto.
  assert (Hx : f x = true -> g x = true) by auto.
  destruct (f x), (g x); cbn; lia.
Qed.

(** Of what comes before index [i], all of it earlier than [k], all is counted. *)
Lemma tally_covers l i k o : (forall j x, nth_error l j = Some x -> fst x < k -> j < i) ->
  tally k o l <= count o (map snd (firstn i l)).
Proof.
  intros H. rewrite count_filter. unfold tally.
  rewrite <- (firstn_skipn i l) at 1. rewrite filter_app, app_length.
  assert (E : filter (early k o) (skipn i l) = []).
  { destruct (filter (early k o) (skipn i l)) as [| x f] eqn:E; auto.
    assert (I : In x (filter (early k o) (skipn i l))) by (rewrite E; now left).
    apply filter_In in I. destruct I as [I X]. apply early_spec in X. destruct X as [X _].
    apply In_nth_error in I. destruct I as [j J].
    assert (i + j < i); [| lia]. apply (H _ x); auto.
    rewrite <- (firstn_skipn i l).
    destruct (le_lt_dec (length l) i) as [G | G].
    { rewrite skipn_all2 in J by auto. now destruct j. }
    rewrite nth_error_app2 by (rewrite firstn_length_le; lia).
    rewrite firstn_length_le by lia. now replace (i + j - i) with j by lia. }
  rewrite E, Nat.add_0_r. apply tally_le. intros x _ X. apply early_spec in X.
  destruct (op_eq_dec (snd x) o); tauto.
Qed.

Lemma tally_exact l i k o x : increasing l -> nth_error l i = Some (k, x) ->
  count o (map snd (firstn i l)) <= tally k o l.
Proof.
  intros S H. rewrite count_filter. unfold tally.
  rewrite <- (firstn_skipn i l) at 2. rewrite filter_app, app_length.
  apply Nat.le_trans with (length (filter (early k o) (firstn i l))); [| lia].
  apply tally_le. intros y Y E. apply early_spec.
  apply In_nth_error in Y. destruct Y as [j J].
  assert (j < i).
  { assert (j < length (firstn i l)) by (apply nth_error_Some; congruence).
    rewrite firstn_length in *. lia. }
  split; [| destruct (op_eq_dec (snd y) o); easy].
  apply (increasing_nth l j i y (k, x)); auto.
  rewrite <- (firstn_skipn i l), nth_error_app1; auto. apply nth_error_Some. congruence.
Qed.
