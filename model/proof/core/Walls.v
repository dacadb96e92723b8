(** * Walls: an invariant that shows a deadlock

    A wall gives some of the ranks a position.  If none of them can pass its own
    as long as all of them are within theirs, none ever does.  It is a wait-for
    circuit in the form of an invariant: the ranks need not have come to the
    wall yet, and the program before the wall does not matter. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism Checker Slack Circuit TimedLists Timetable Ring.
Import ListNotations.

(** If the ranks of [C] can never pass the positions [wall] as long as all of
    them are within their walls, then they never do, and the run cannot finish. *)
Theorem wall_deadlocks p L (C : nat -> Prop) (wall : nat -> nat) r0 :
  C r0 -> r0 < ranks p -> wall r0 < length (code p r0) ->
  (forall s, reachable p L s -> (forall r, C r -> pos s r <= wall r) ->
             forall r, C r -> pos s r = wall r -> cannot_move p L s r) ->
  deadlocks p L.
Proof.
  intros C0 B W H. apply deadlocks_iff_not_free. rewrite free_iff_finishes.
  intros (s & R & F).
  assert (I : forall r, C r -> pos s r <= wall r).
  { clear F. revert s R. apply (reachable_ind p L (fun s => forall r, C r -> pos s r <= wall r)).
    - intros r _. unfold pos, start. rewrite nth_repeat. lia.
    - intros s s' R I G r Cr. assert (Hr := H s R I r Cr). specialize (I r Cr).
      destruct G as [s q G | s q e G].
      + destruct (Nat.eq_dec r q) as [-> | N]; [| now rewrite pos_advance_other].
        rewrite pos_advance. destruct (_ && _); [| auto].
        destruct (Nat.eq_dec (pos s q) (wall q)) as [E | E]; [| lia].
        now destruct (Hr E).
      + destruct (Nat.eq_dec (pos s r) (wall r)) as [E | E].
        * destruct (Hr E) as [_ M].
          rewrite !pos_advance_other; auto; intros ->;
            first [exact (proj1 (M _) G) | exact (proj2 (M _) G)].
        * assert (N := meets_sender_only _ _ _ _ _ _ _ G G).
          destruct (Nat.eq_dec r q) as [-> | M].
          -- rewrite pos_advance_other by auto. rewrite pos_advance. destruct (_ && _); lia.
          -- rewrite pos_advance. rewrite pos_advance_other by auto. destruct (_ && _); lia. }
  specialize (F r0). rewrite head_at in F by now rewrite (length_reachable _ _ _ R).
  apply nth_error_None in F. specialize (I r0 C0). lia.
Qed.

(** Ranks that all begin with a receive from one another deadlock under every
    library, unlimited buffering included. *)
Theorem receive_circuit_deadlocks p L (C : nat -> Prop) r0 :
  C r0 -> (forall r, C r -> r < ranks p) ->
  (forall r, C r -> exists q t, C q /\ nth_error (code p r) 0 = Some (Recv q t)) ->
  deadlocks p L.
Proof.
  intros H0 B H. apply (wall_deadlocks p L C (fun _ => 0) r0); auto.
  { destruct (H r0 H0) as (q & t & _ & E). destruct (code p r0); cbn in *; [easy | lia]. }
  intros s R I r Cr E.
  assert (Z : forall q, C q -> pos s q = 0) by (intros q Cq; specialize (I q Cq); lia).
  assert (HD : forall q, C q -> head p s q = nth_error (code p q) 0).
  { intros q Cq. rewrite head_at, Z; auto. rewrite (length_reachable _ _ _ R). auto. }
  destruct (H r Cr) as (q & t & Cq & Hr). destruct (H q Cq) as (q' & t' & _ & Hq).
  split.
  - unfold ready. rewrite HD, Hr by auto. unfold sent. rewrite (Z q Cq). cbn. lia.
  - intros e. split; intros (u & A & A' & D).
    + rewrite HD in A; auto. congruence.
    + rewrite HD in A' by auto. assert (e = q) by congruence. subst e.
      rewrite HD in A by auto. congruence.
Qed.

(** ** Two walls around a ring *)
Lemma firstn_wall {A} (l l' : list A) i : i <= length l -> firstn i (l ++ l') = firstn i l.
Proof.
  intros H. rewrite firstn_app. replace (i - length l) with 0 by lia. cbn. apply app_nil_r.
Qed.

Lemma count_before x l l' i : i < length l -> nth_error (l ++ l') i = Some x ->
  count x (firstn i (l ++ l')) < count x l.
Proof.
  intros H E. rewrite firstn_wall by lia. rewrite nth_error_app1 in E by auto.
  assert (G := count_prefix x (S i) l). rewrite (firstn_succ _ _ _ E), count_app, count_one in G.
  destruct (op_eq_dec x x); [lia | easy].
Qed.

Section Walls.
Variables (p : program) (L : library) (tag : nat) (pre : nat -> list op).
Notation P := (ranks p).
Hypothesis P2 : 2 <= P.

(** Every rank stands before a blocking send whose receive lies behind the
    same kind of send of the next rank. *)
Theorem send_wall_deadlocks :
  (forall r, r < P -> exists post, code p r = pre r ++ Send (next P r) tag :: post) ->
  (forall r, r < P -> count (Send (next P r) tag) (pre r) = count (Recv r tag) (pre (next P r))) ->
  (forall r, r < P -> direct L r (next P r) tag) ->
  deadlocks p L.
Proof.
  intros C M D. apply (wall_deadlocks p L (fun r => r < P) (fun r => length (pre r)) 0); try lia.
  { destruct (C 0) as [post E]; [lia |]. rewrite E, app_length. cbn. lia. }
  intros s R I r Hr E.
  assert (LEN := length_reachable _ _ _ R).
  destruct (C r Hr) as [post Cr].
  assert (HD : head p s r = Some (Send (next P r) tag)).
  { rewrite head_at by lia. rewrite Cr, E, nth_error_app2, Nat.sub_diag by auto. reflexivity. }
  assert (Hn := next_range P r Hr). assert (J := I _ Hn). destruct (C _ Hn) as [post' Cn].
  split; [| intros q; split].
  - unfold ready. rewrite HD. intros [ND _]. now apply ND, D.
  - intros (t & A & B & _). rewrite HD in A. injection A as <- <-.
    assert (F := direct_balanced _ _ _ R _ _ _ (D r Hr)). unfold sent, received in F.
    rewrite Cr, E, firstn_wall, firstn_all, (M r Hr) in F by lia.
    apply head_some in B. destruct B as [_ B]. rewrite Cn in B, F.
    destruct (Nat.eq_dec (pos s (next P r)) (length (pre (next P r)))) as [Z | Z].
    + rewrite Z, nth_error_app2, Nat.sub_diag in B by auto. easy.
    + assert (W : pos s (next P r) < length (pre (next P r))) by lia.
      assert (X := count_before _ _ _ _ W B). lia.
  - intros (t & _ & B & _). congruence.
Qed.

(** Every rank stands before a receive whose send lies behind the same kind of
    receive of the rank before it; no buffering helps. *)
Theorem receive_wall_deadlocks :
  (forall r, r < P -> exists post, code p r = pre r ++ Recv (prev P r) tag :: post) ->
  (forall r, r < P -> count (Recv (prev P r) tag) (pre r) = count (Send r tag) (pre (prev P r))) ->
  deadlocks p L.
Proof.
  intros C M. apply (wall_deadlocks p L (fun r => r < P) (fun r => length (pre r)) 0); try lia.
  { destruct (C 0) as [post E]; [lia |]. rewrite E, app_length. cbn. lia. }
  intros s R I r Hr E.
  assert (LEN := length_reachable _ _ _ R).
  destruct (C r Hr) as [post Cr].
  assert (HD : head p s r = Some (Recv (prev P r) tag)).
  { rewrite head_at by lia. rewrite Cr, E, nth_error_app2, Nat.sub_diag by auto. reflexivity. }
  assert (Hn := prev_range P r Hr). assert (J := I _ Hn). destruct (C _ Hn) as [post' Cn].
  assert (Got : received p s (prev P r) r tag = count (Send r tag) (pre (prev P r))).
  { unfold received. now rewrite Cr, E, firstn_wall, firstn_all, (M r Hr) by lia. }
  split; [| intros q; split].
  - unfold ready. rewrite HD, Got. intros [_ LT]. revert LT. unfold sent. rewrite Cn, firstn_wall by auto.
    assert (X := count_prefix (Send r tag) (pos s (prev P r)) (pre (prev P r))). lia.
  - intros (t & A & _). congruence.
  - intros (t & A & B & D). rewrite HD in B. injection B as <- <-.
    assert (F := direct_balanced _ _ _ R _ _ _ D). rewrite Got in F. unfold sent in F.
    apply head_some in A. destruct A as [_ A]. rewrite Cn in A, F.
    destruct (Nat.eq_dec (pos s (prev P r)) (length (pre (prev P r)))) as [Z | Z].
    + rewrite Z, nth_error_app2, Nat.sub_diag in A by auto. easy.
    + assert (W : pos s (prev P r) < length (pre (prev P r))) by lia.
      assert (X := count_before _ _ _ _ W A). lia.
Qed.
End Walls.
