(** * How fast can any schedule be? The lower bound

    A schedule is a list of steps, each a set of transfers of the ring; transfer
    [e] goes from rank [e] to the next.  In one step a rank takes part in at
    most one transfer.  Counting the ranks that are busy gives the bound,
    whatever decides the order. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Ring.
Import ListNotations.

Definition ends P e := [e; next P e].

(** No rank in two transfers of the step. *)
Definition one_at_a_time P (step : list nat) :=
  (forall e, In e step -> e < P) /\ NoDup (flat_map (ends P) step).

(** [K] messages on each of the [P] edges. *)
Definition schedule P K (steps : list (list nat)) :=
  (forall step, In step steps -> one_at_a_time P step) /\
  (forall e, e < P -> count_occ Nat.eq_dec (concat steps) e = K).

(** a / b rounded up *)
Definition ceil_div a b := (a + b - 1) / b.

Definition least_steps P K := if Nat.even P then 2 * K else 2 * K + ceil_div (2 * K) (P - 1).

Lemma flat_map_ends P step : length (flat_map (ends P) step) = 2 * length step.
Proof. induction step as [| e l IH]; simpl; auto. rewrite IH. lia. Qed.

Lemma step_size P step : one_at_a_time P step -> 2 * length step <= P.
Proof.
  intros [R N]. rewrite <- flat_map_ends with (P := P).
  transitivity (length (seq 0 P)); [| now rewrite seq_length].
  apply NoDup_incl_length; auto. intros r H. apply in_flat_map in H. destruct H as (e & I & [<- | [<- | []]]);
    apply R in I; apply in_seq; [lia |]. assert (X := next_range P e I). lia.
Qed.

(** A list of numbers below [P] is as long as its members occur. *)
Lemma length_by_member P (l : list nat) : (forall e, In e l -> e < P) ->
  length l = list_sum (map (count_occ Nat.eq_dec l) (seq 0 P)).
Proof.
  induction l as [| x l IH]; intros H.
  - simpl. induction (seq 0 P); simpl; auto.
  - simpl length. rewrite IH by (intros; apply H; now right). clear IH.
    assert (X : x < P) by (apply H; now left).
    assert (I : In x (seq 0 P)) by (apply in_seq; lia).
    assert (N := seq_NoDup P 0). revert I N.
    assert (G : forall s, ~ In x s -> list_sum (map (count_occ Nat.eq_dec (x :: l)) s) =
                                      list_sum (map (count_occ Nat.eq_dec l) s)).
    { induction s as [| y s IH]; intros NI; auto. simpl in *.
      destruct (Nat.eq_dec x y) as [E | _]; [destruct NI; auto |]. rewrite IH; auto. }
    induction (seq 0 P) as [| y s IH]; intros I N; [easy |].
    apply NoDup_cons_iff in N. destruct N as [NI N]. simpl. destruct (Nat.eq_dec x y) as [-> | D].
    + specialize (G s NI). simpl in G. rewrite G. lia.
    + destruct I as [-> | I]; [easy |]. specialize (IH I N). simpl in IH. lia.
Qed.

Lemma schedule_work P K steps : schedule P K steps -> length (concat steps) = P * K.
Proof.
  intros [H C]. rewrite (length_by_member P).
  - rewrite (map_ext_in _ (fun _ => K)) by (intros e I; apply C; apply in_seq in I; lia).
    rewrite <- (seq_length P 0) at 2. induction (seq 0 P); simpl; auto.
  - intros e I. apply in_concat in I. destruct I as (step & I & J). now apply (H step I).
Qed.

Lemma concat_bound {A} b (l : list (list A)) :
  (forall x, In x l -> length x <= b) -> length (concat l) <= length l * b.
Proof.
  induction l as [| x l IH]; simpl; auto. intros H. rewrite app_length.
  assert (length x <= b) by auto. assert (length (concat l) <= length l * b) by auto. lia.
Qed.

(** *** The lower bound *)
Theorem schedule_lower_bound P K steps : 2 <= P -> schedule P K steps -> least_steps P K <= length steps.
Proof.
  intros HP H. assert (W := schedule_work _ _ _ H). destruct H as [H _].
  unfold least_steps. destruct (Nat.even P) eqn:E.
  - apply Nat.even_spec in E. destruct E as [m E].
    assert (B : length (concat steps) <= length steps * m).
    { apply concat_bound. intros x I. apply H, step_size in I. lia. }
    rewrite W, E in B. nia.
  - assert (O : Nat.odd P = true) by (unfold Nat.odd; now rewrite E).
    apply Nat.odd_spec in O. destruct O as [m O].
    assert (B : length (concat steps) <= length steps * m).
    { apply concat_bound. intros x I. apply H, step_size in I. lia. }
    rewrite W, O in B. unfold ceil_div. replace (P - 1) with (2 * m) by lia.
    assert (2 * K <= length steps) by nia.
    assert ((2 * K + 2 * m - 1) / (2 * m) < S (length steps - 2 * K)); [| lia].
    apply Nat.div_lt_upper_bound; [lia |]. nia.
Qed.
