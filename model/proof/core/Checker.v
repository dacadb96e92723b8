(** * A decision procedure that Coq can run

    Because one schedule decides, it is enough to fire any enabled step until
    none is left: the program is deadlock-free exactly when that one run ends
    with every rank at its end. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics Determinism.
Import ListNotations.

Definition belowb x y l := match l with Upto k => x <? y + k | Unlimited => true end.

Definition directb L r d t := match room L r d t with Upto 0 => true | _ => false end.

Definition op_is (x : op) (h : option op) : bool :=
  match h with Some y => if op_eq_dec x y then true else false | None => false end.

(** What rank [r] can do in [s], a rendezvous being started by its sender. *)
Definition move (p : program) (L : library) (s : state) (r : nat) : option state :=
  match head p s r with
  | Some (Send d t) =>
      if directb L r d t then
        if op_is (Recv r t) (head p s d) then Some (advance d (advance r s)) else None
      else if belowb (sent p s r d t) (received p s r d t) (room L r d t)
        then Some (advance r s) else None
  | Some (Recv q t) =>
      if negb (directb L q r t) && (received p s q r t <? sent p s q r t)
        then Some (advance r s) else None
  | Some (Wait d t) =>
      if belowb (sent p s r d t) (S (received p s r d t)) (rest L r d t)
        then Some (advance r s) else None
  | None => None
  end.

Fixpoint first_move_of p L s (l : list nat) : option state :=
  match l with
  | [] => None
  | r :: l => match move p L s r with Some s' => Some s' | None => first_move_of p L s l end
  end.

Definition first_move p L s := first_move_of p L s (seq 0 (ranks p)).

Fixpoint settle p L fuel s : state :=
  match fuel with
  | 0 => s
  | S fuel => match first_move p L s with Some s' => settle p L fuel s' | None => s end
  end.

(** The last state of a maximal run. *)
Definition final p L := settle p L (size p) (start p).

Definition at_end p s := forallb (fun r => match head p s r with None => true | _ => false end)
                                 (seq 0 (ranks p)).

(** The verdict: [true] when no deadlock can be reached. *)
Definition check p L : bool := at_end p (final p L).

(** ** The procedure follows the transition relation *)

Lemma belowb_spec x y l : belowb x y l = true <-> below x y l.
Proof. destruct l; cbn; [apply Nat.ltb_lt | tauto]. Qed.

Lemma directb_spec L r d t : directb L r d t = true <-> direct L r d t.
Proof. unfold directb, direct. destruct (room L r d t) as [[| k] |]; split; congruence. Qed.

Lemma directb_not L r d t : directb L r d t = false <-> ~ direct L r d t.
Proof. rewrite <- directb_spec. destruct (directb L r d t); intuition congruence. Qed.

Lemma direct_dec L r d t : {direct L r d t} + {~ direct L r d t}.
Proof.
  destruct (directb L r d t) eqn:E; [left; now apply directb_spec | right; now apply directb_not].
Qed.

Lemma op_is_spec x h : op_is x h = true <-> h = Some x.
Proof.
  destruct h as [y |]; cbn; [| easy]. destruct (op_eq_dec x y); split; congruence.
Qed.

Lemma move_sound p L s r s' : move p L s r = Some s' -> step p L s s'.
Proof.
  unfold move. destruct (head p s r) as [[d t | q t | d t] |] eqn:H; [| | | easy].
  - destruct (directb L r d t) eqn:D.
    + destruct (op_is _ _) eqn:O; [| easy]. intros [= <-]. constructor.
      exists t. rewrite directb_spec in D. rewrite op_is_spec in O. auto.
    + destruct (belowb _ _ _) eqn:B; [| easy]. intros [= <-]. constructor.
      unfold ready. rewrite H. now rewrite belowb_spec in B; rewrite directb_not in D.
  - destruct (_ && _) eqn:B; [| easy]. intros [= <-]. constructor.
    apply andb_prop in B. destruct B as [D B]. apply negb_true_iff in D.
    unfold ready. rewrite H. rewrite directb_not in D. now rewrite Nat.ltb_lt in B.
  - destruct (belowb _ _ _) eqn:B; [| easy]. intros [= <-]. constructor.
    unfold ready. rewrite H. now apply belowb_spec.
Qed.

Lemma move_complete p L s s' : step p L s s' -> exists r, r < length s /\ move p L s r <> None.
Proof.
  destruct 1 as [s r H | s r d (t & A & B & C)].
  - exists r. unfold ready in H. unfold move.
    destruct (head p s r) as [x |] eqn:E; [| easy].
    split; [now apply head_some in E |].
    destruct x as [d t | q t | d t].
    + destruct H as [N B]. apply directb_not in N. apply belowb_spec in B. now rewrite N, B.
    + destruct H as [N B]. apply directb_not in N. apply Nat.ltb_lt in B. now rewrite N, B.
    + apply belowb_spec in H. now rewrite H.
  - exists r. split; [now apply head_some in A |]. unfold move. rewrite A.
    apply directb_spec in C. rewrite C. apply op_is_spec in B. now rewrite B.
Qed.

Lemma first_move_sound p L s s' : first_move p L s = Some s' -> step p L s s'.
Proof.
  unfold first_move. induction (seq 0 (ranks p)) as [| r l IH]; cbn; [easy |].
  destruct (move p L s r) eqn:E; auto. intros [= <-]. eapply move_sound; eauto.
Qed.

Lemma first_move_none p L s : length s = ranks p -> first_move p L s = None -> stuck p L s.
Proof.
  intros E H s' G. destruct (move_complete _ _ _ _ G) as (r & Hr & M). apply M.
  assert (I : In r (seq 0 (ranks p))) by (apply in_seq; lia).
  revert H I. unfold first_move. induction (seq 0 (ranks p)) as [| q l IH]; cbn; [easy |].
  destruct (move p L s q) eqn:F; [easy |]. intros H [-> | I]; auto.
Qed.

Lemma settle_spec p L fuel s : length s = ranks p ->
  exists n, run p L n s (settle p L fuel s) /\ (stuck p L (settle p L fuel s) \/ n = fuel).
Proof.
  revert s; induction fuel as [| fuel IH]; intros s E; cbn.
  - exists 0. split; [constructor | auto].
  - destruct (first_move p L s) as [s' |] eqn:F.
    + apply first_move_sound in F. destruct (IH s') as (n & R & D).
      { now rewrite (length_step _ _ _ _ F). }
      exists (S n). split; [econstructor; eauto |]. destruct D; [now left | right; lia].
    + exists 0. split; [constructor | left]. now apply first_move_none.
Qed.

Lemma final_reachable p L : reachable p L (final p L).
Proof.
  destruct (settle_spec p L (size p) (start p) (length_start p)) as (n & R & _). now exists n.
Qed.

Lemma final_stuck p L : stuck p L (final p L).
Proof.
  destruct (settle_spec p L (size p) (start p) (length_start p)) as (n & R & [D | ->]); auto.
  intros s' G. assert (F := runs_are_finite p L (S (size p)) s'). unfold final in G.
  assert (S (size p) <= size p); [| lia]. apply F. eapply run_snoc; eauto.
Qed.

Lemma finished_dec p L s : reachable p L s -> at_end p s = true <-> finished p s.
Proof.
  intros R. unfold at_end. rewrite forallb_forall. apply length_reachable in R. split; intros H r.
  - destruct (le_lt_dec (ranks p) r).
    + apply head_out. lia.
    + specialize (H r). rewrite in_seq in H. destruct (head p s r); auto.
      discriminate H. lia.
  - intros _. now rewrite H.
Qed.

Lemma finished_stuck p L s : finished p s -> stuck p L s.
Proof.
  intros F s' G. destruct G as [s r H | s r d (t & A & _)].
  - unfold ready in H. now rewrite F in H.
  - congruence.
Qed.

(** ** Deadlock-free means: some run finishes *)
Theorem free_iff_finishes p L :
  deadlock_free p L <-> exists s, reachable p L s /\ finished p s.
Proof.
  split.
  - intros H. exists (final p L). split; [apply final_reachable |].
    rewrite <- finished_dec by apply final_reachable.
    destruct (at_end p (final p L)) eqn:E; auto.
    exfalso. apply (H _ (final_reachable p L)). split; [apply final_stuck |].
    rewrite <- finished_dec by apply final_reachable. congruence.
  - intros (s & [n R] & F) u [m G] [U N]. apply N.
    destruct (one_schedule_decides p L _ _ _ _ _ R (finished_stuck _ _ _ F) G U) as [<- _]. auto.
Qed.

Theorem deadlocks_iff_not_free p L : deadlocks p L <-> ~ deadlock_free p L.
Proof.
  split.
  - intros (s & R & D) H. now apply (H s).
  - intros H. exists (final p L). split; [apply final_reachable |].
    split; [apply final_stuck |]. intros F. apply H.
    apply free_iff_finishes. exists (final p L). split; auto. apply final_reachable.
Qed.

(** The verdict computed is the verdict of the transition relation. *)
Theorem check_correct p L : check p L = true <-> deadlock_free p L.
Proof.
  unfold check. rewrite finished_dec by apply final_reachable. rewrite free_iff_finishes. split.
  - intros F. exists (final p L). split; auto. apply final_reachable.
  - intros (s & [n R] & F). destruct (final_reachable p L) as [m G].
    destruct (one_schedule_decides p L _ _ _ _ _ R (finished_stuck _ _ _ F) G (final_stuck p L))
      as [<- _]. auto.
Qed.

Theorem check_false p L : check p L = false <-> deadlocks p L.
Proof.
  rewrite deadlocks_iff_not_free, <- check_correct. now destruct (check p L).
Qed.

(** A deadlock-free program ends under every schedule, after the same number of steps. *)
Theorem free_terminates p L n s :
  deadlock_free p L -> run p L n (start p) s -> stuck p L s -> finished p s.
Proof.
  intros H R U. apply free_iff_finishes in H. destruct H as (u & [m G] & F).
  now destruct (one_schedule_decides p L _ _ _ _ _ R U G (finished_stuck _ _ _ F)) as [-> _].
Qed.

(** ** Looking programs up in a table makes the computation faster *)
Definition tabulate (p : program) : program :=
  let table := map (code p) (seq 0 (ranks p)) in
  {| ranks := ranks p; code r := nth r table [] |}.

Lemma tabulate_code p r : (forall q, ranks p <= q -> code p q = []) -> code (tabulate p) r = code p r.
Proof.
  intros H. cbn. destruct (le_lt_dec (ranks p) r) as [G | G].
  - rewrite nth_overflow by now rewrite map_length, seq_length. now rewrite H.
  - rewrite (nth_indep _ [] (code p 0)) by now rewrite map_length, seq_length.
    now rewrite map_nth, seq_nth.
Qed.

Lemma check_tabulate p L : (forall r, ranks p <= r -> code p r = []) -> check (tabulate p) L = check p L.
Proof.
  intros Out. assert (C := fun r => tabulate_code p r Out).
  assert (Hd : forall s r, head (tabulate p) s r = head p s r).
  { intros s r. unfold head. destruct (nth_error s r); auto. now rewrite C. }
  assert (Mv : forall s r, move (tabulate p) L s r = move p L s r).
  { intros s r. unfold move, sent, received. rewrite Hd.
    destruct (head p s r) as [[d t | d t | d t] |]; rewrite ?Hd, ?C; auto. }
  assert (Ft : forall s l, first_move_of (tabulate p) L s l = first_move_of p L s l).
  { intros s l. induction l as [| r l IH]; cbn; auto. now rewrite Mv, IH. }
  assert (St : forall n s, settle (tabulate p) L n s = settle p L n s).
  { induction n as [| n IH]; intros s; cbn; auto. unfold first_move. rewrite Ft. cbn [tabulate ranks].
    destruct (first_move_of _ _ _ _); auto. }
  assert (Sz : size (tabulate p) = size p).
  { unfold size. cbn [tabulate ranks]. f_equal. apply map_ext. intros r. now rewrite <- (C r). }
  unfold check, final, at_end. rewrite Sz, St. change (start (tabulate p)) with (start p). cbn [tabulate ranks].
  induction (seq 0 (ranks p)) as [| r l IH]; cbn; auto. now rewrite Hd, IH.
Qed.
