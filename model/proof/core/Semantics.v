(** * The transition system: programs, libraries, states, steps, deadlock

    A program gives each rank a finite list of operations; no receive has a
    wildcard.  A state is the vector of positions: how many operations each
    rank has completed.  Nothing else needs to be stored, for the number of
    messages under way on a channel is the number of completed sends less the
    number of completed receives. *)

From Coq Require Import List Arith Lia Bool.
Import ListNotations.

(** [Send d t]: send to rank [d] under tag [t] (an isend, too, where its call
    returns by the rule of the library below).  [Recv r t]: receive from [r].
    [Wait d t]: wait for the earlier sends to [d] under [t]. *)
Inductive op := Send (peer tag : nat) | Recv (peer tag : nat) | Wait (peer tag : nat).

Definition op_eq_dec (a b : op) : {a = b} + {a <> b}.
Proof. decide equality; apply Nat.eq_dec. Defined.

Record program := { ranks : nat; code : nat -> list op }.

(** ** Libraries
    A channel is (source, destination, tag).  [room]: how many messages sent
    and not yet received the channel stores; a send returns once its message is
    stored.  [Upto 0] is rendezvous: the send and its receive complete in one
    step.  [rest]: how many messages may be unreceived when a wait returns. *)
Inductive limit := Upto (k : nat) | Unlimited.

Record library := { room : nat -> nat -> nat -> limit; rest : nat -> nat -> nat -> limit }.

Definition everywhere (l : limit) : library := {| room := fun _ _ _ => l; rest := fun _ _ _ => l |}.
Definition rendezvous := everywhere (Upto 0).
Definition bounded k := everywhere (Upto k).
Definition eager := everywhere Unlimited.
(** The isend of gloo: the call returns at once, the wait returns when the message was received. *)
Definition posting := {| room := fun _ _ _ => Unlimited; rest := fun _ _ _ => Upto 0 |}.

(** [below x y l]: x < y + l. *)
Definition below (x y : nat) (l : limit) : Prop :=
  match l with Upto k => x < y + k | Unlimited => True end.

(** The channel is a rendezvous. *)
Definition direct (L : library) r d t : Prop := room L r d t = Upto 0.

(** ** States *)
Definition state := list nat.

Definition start (p : program) : state := repeat 0 (ranks p).
Definition pos (s : state) r := nth r s 0.

(** The operation that rank [r] does next; [None] once it has ended. *)
Definition head (p : program) (s : state) r : option op :=
  match nth_error s r with Some i => nth_error (code p r) i | None => None end.

Fixpoint advance r (s : state) : state :=
  match s, r with
  | [], _ => []
  | x :: s, 0 => S x :: s
  | x :: s, S r => x :: advance r s
  end.

Definition count (x : op) (l : list op) : nat := count_occ op_eq_dec l x.

(** Completed sends and receives of the channel (r, d, t). *)
Definition sent p s r d t := count (Send d t) (firstn (pos s r) (code p r)).
Definition received p s r d t := count (Recv r t) (firstn (pos s d) (code p d)).

(** ** Steps *)

(** Rank [r] can complete its next operation by itself. *)
Definition ready (p : program) (L : library) (s : state) r : Prop :=
  match head p s r with
  | Some (Send d t) => ~ direct L r d t /\ below (sent p s r d t) (received p s r d t) (room L r d t)
  | Some (Recv q t) => ~ direct L q r t /\ received p s q r t < sent p s q r t
  | Some (Wait d t) => below (sent p s r d t) (S (received p s r d t)) (rest L r d t)
  | None => False
  end.

(** Rank [r] sends to rank [d], [d] receives from [r], and both complete at once. *)
Definition meets (p : program) (L : library) (s : state) r d : Prop :=
  exists t, head p s r = Some (Send d t) /\ head p s d = Some (Recv r t) /\ direct L r d t.

Inductive step (p : program) (L : library) : state -> state -> Prop :=
| alone s r : ready p L s r -> step p L s (advance r s)
| together s r d : meets p L s r d -> step p L s (advance d (advance r s)).

(** [run n s s']: a run of [n] steps from [s] to [s']. *)
Inductive run (p : program) (L : library) : nat -> state -> state -> Prop :=
| run_nil s : run p L 0 s s
| run_cons n s s' s'' : step p L s s' -> run p L n s' s'' -> run p L (S n) s s''.

Definition reachable p L s := exists n, run p L n (start p) s.

(** ** Termination and deadlock *)
Definition finished p (s : state) := forall r, head p s r = None.
Definition stuck p L s := forall s', ~ step p L s s'.
Definition deadlock p L s := stuck p L s /\ ~ finished p s.

Definition deadlocks p L := exists s, reachable p L s /\ deadlock p L s.
Definition deadlock_free p L := forall s, reachable p L s -> ~ deadlock p L s.

(** ** Ring programs *)

(** What a rank does first in each ring step. *)
Inductive letter := SendFirst | RecvFirst.
Notation ordering := (list letter).

Definition next P r := if S r =? P then 0 else S r.
Definition prev P r := if r =? 0 then P - 1 else r - 1.

(** The two halves of one ring step in the order that the letter says. *)
Definition halves {A} (l : letter) (send recv : A) : list A :=
  match l with SendFirst => [send; recv] | RecvFirst => [recv; send] end.

Definition letter_of (o : ordering) r := nth r o SendFirst.

(** [K] ring steps of [length o] ranks under the ordering [o]. *)
Definition ring (o : ordering) (K : nat) : program :=
  let P := length o in
  {| ranks := P;
     code r := flat_map (fun _ => halves (letter_of o r) (Send (next P r) 0) (Recv (prev P r) 0))
                        (seq 0 (if r <? P then K else 0)) |}.

Definition parity P : ordering :=
  map (fun r => if Nat.even r then SendFirst else RecvFirst) (seq 0 P).

Lemma next_is_mod P r : r < P -> next P r = (r + 1) mod P.
Proof.
  intros H. unfold next. destruct (Nat.eqb_spec (S r) P) as [E | E].
  - rewrite Nat.add_1_r, E. symmetry. apply Nat.mod_same. lia.
  - rewrite Nat.mod_small; lia.
Qed.

Lemma prev_is_mod P r : r < P -> prev P r = (r + P - 1) mod P.
Proof.
  intros H. unfold prev. destruct (Nat.eqb_spec r 0) as [E | E].
  - subst. rewrite Nat.mod_small; lia.
  - replace (r + P - 1) with (r - 1 + 1 * P) by lia.
    rewrite Nat.mod_add by lia. rewrite Nat.mod_small; lia.
Qed.

(** ** Positions, heads and counts under a step *)

Lemma length_advance r s : length (advance r s) = length s.
Proof. revert r; induction s as [| x s IH]; intros [| r]; cbn; auto. Qed.

Lemma pos_advance r q s :
  pos (advance r s) q = if (q =? r) && (r <? length s) then S (pos s q) else pos s q.
Proof.
  unfold pos. revert r q; induction s as [| x s IH]; intros r q.
  - destruct r; cbn; now rewrite Bool.andb_false_r.
  - destruct r, q; cbn; auto. apply IH.
Qed.

Lemma pos_advance_same r s : r < length s -> pos (advance r s) r = S (pos s r).
Proof.
  intros H. rewrite pos_advance, Nat.eqb_refl. apply Nat.ltb_lt in H. now rewrite H.
Qed.

Lemma pos_advance_other r q s : q <> r -> pos (advance r s) q = pos s q.
Proof. intros H. rewrite pos_advance. apply Nat.eqb_neq in H. now rewrite H. Qed.

Lemma pos_grows r q s : pos s q <= pos (advance r s) q.
Proof. rewrite pos_advance. destruct (_ && _); lia. Qed.

Lemma advance_comm r q s : advance r (advance q s) = advance q (advance r s).
Proof.
  revert r q; induction s as [| x s IH]; intros [| r] [| q]; cbn; auto. now rewrite IH.
Qed.

Lemma head_at p s r : r < length s -> head p s r = nth_error (code p r) (pos s r).
Proof.
  intros H. unfold head, pos. rewrite (nth_error_nth' s 0 H). reflexivity.
Qed.

Lemma head_out p s r : length s <= r -> head p s r = None.
Proof. intros H. unfold head. apply nth_error_None in H. now rewrite H. Qed.

Lemma head_some p s r x : head p s r = Some x ->
  r < length s /\ nth_error (code p r) (pos s r) = Some x.
Proof.
  intros H. destruct (le_lt_dec (length s) r) as [G | G].
  - now rewrite head_out in H.
  - split; auto. now rewrite <- head_at.
Qed.

Lemma head_advance_other p s r q : q <> r -> head p (advance r s) q = head p s q.
Proof.
  intros H. destruct (le_lt_dec (length s) q) as [G | G].
  - rewrite !head_out; rewrite ?length_advance; auto.
  - rewrite !head_at by (rewrite ?length_advance; auto). now rewrite pos_advance_other.
Qed.

Lemma count_app x l l' : count x (l ++ l') = count x l + count x l'.
Proof. apply count_occ_app. Qed.

Lemma count_one x y : count x [y] = if op_eq_dec y x then 1 else 0.
Proof. reflexivity. Qed.

Lemma firstn_succ {A} (l : list A) i x : nth_error l i = Some x -> firstn (S i) l = firstn i l ++ [x].
Proof.
  revert i; induction l as [| y l IH]; intros [| i]; cbn; try discriminate.
  - now intros [= ->].
  - intros H. now rewrite <- (IH i H).
Qed.

Lemma count_firstn_mono x l i j : i <= j -> count x (firstn i l) <= count x (firstn j l).
Proof.
  intros H. replace i with (Nat.min i j) by lia. rewrite <- firstn_firstn.
  rewrite <- (firstn_skipn i (firstn j l)) at 2. rewrite count_app. lia.
Qed.

(** Completing the head [x] of rank [r] counts it once. *)
Lemma count_advance p s r x y : head p s r = Some x ->
  count y (firstn (pos (advance r s) r) (code p r)) =
  count y (firstn (pos s r) (code p r)) + (if op_eq_dec x y then 1 else 0).
Proof.
  intros H. apply head_some in H. destruct H as [Hr Hx].
  rewrite pos_advance_same, (firstn_succ _ _ _ Hx), count_app by auto. now rewrite count_one.
Qed.

Lemma sent_other p s q r d t : r <> q -> sent p (advance q s) r d t = sent p s r d t.
Proof. intros H. unfold sent. now rewrite pos_advance_other. Qed.

Lemma received_other p s q r d t : d <> q -> received p (advance q s) r d t = received p s r d t.
Proof. intros H. unfold received. now rewrite pos_advance_other. Qed.

Lemma sent_grows p s q r d t : sent p s r d t <= sent p (advance q s) r d t.
Proof. apply count_firstn_mono, pos_grows. Qed.

Lemma received_grows p s q r d t : received p s r d t <= received p (advance q s) r d t.
Proof. apply count_firstn_mono, pos_grows. Qed.

(** ** Elementary facts about runs *)

Lemma run_app p L n m s s' s'' : run p L n s s' -> run p L m s' s'' -> run p L (n + m) s s''.
Proof. induction 1; cbn; auto. intros; econstructor; eauto. Qed.

Lemma run_snoc p L n s s' s'' : run p L n s s' -> step p L s' s'' -> run p L (S n) s s''.
Proof.
  intros H G. rewrite <- Nat.add_1_r. eapply run_app; eauto. econstructor; eauto. constructor.
Qed.

(** What holds at the start and is kept by each step holds in every reachable state. *)
Lemma reachable_ind p L (I : state -> Prop) :
  I (start p) -> (forall s s', reachable p L s -> I s -> step p L s s' -> I s') ->
  forall s, reachable p L s -> I s.
Proof.
  intros H0 Hstep s [n H].
  assert (G : forall n s s', run p L n s s' -> reachable p L s -> I s -> I s').
  { induction 1 as [| m u v w Huv _ IH]; auto. intros Hu Iu. apply IH.
    - destruct Hu as [k Hu]. exists (S k). eapply run_snoc; eauto.
    - eauto. }
  eapply G; eauto. exists 0. constructor.
Qed.

Lemma reachable_step p L s s' : reachable p L s -> step p L s s' -> reachable p L s'.
Proof. intros [n H] G. exists (S n). eapply run_snoc; eauto. Qed.

Lemma length_start p : length (start p) = ranks p.
Proof. apply repeat_length. Qed.

Lemma length_step p L s s' : step p L s s' -> length s' = length s.
Proof. destruct 1; now rewrite ?length_advance. Qed.

Lemma length_reachable p L s : reachable p L s -> length s = ranks p.
Proof.
  revert s. apply reachable_ind; [apply length_start |].
  intros s s' _ H G. now rewrite (length_step _ _ _ _ G).
Qed.

Lemma head_start p r : r < ranks p -> head p (start p) r = nth_error (code p r) 0.
Proof.
  intros H. rewrite head_at by now rewrite length_start.
  unfold pos, start. now rewrite nth_repeat.
Qed.
