(** * The serving loop

    The pipeline loop of P ranks with async depth [d], as lists of operations.
    In iteration [n] every rank works on one microbatch slot of L = P + d;
    [b n] says whether a batch is formed in iteration [n].  Requests and hidden
    states (proxy) go down the chain, outputs go once around the ring.  In
    rounds t = iteration + rank, the output phase is one shift of the ring.
    This file has the loop only; [unroll] is the function of this name in
    model/pipelines/serving.py, operation by operation, without the forwards. *)

From Coq Require Import List Arith Lia Bool.
From Ringproof Require Import Semantics.
Import ListNotations.

(** The kinds of message, as tags. *)
Definition REQUESTS := 0.
Definition PROXY := 1.
Definition OUTPUT := 2.

(** Operations with a condition under which they are there. *)
Definition keep {A} (l : list (bool * A)) : list A :=
  flat_map (fun g : bool * A => if fst g then [snd g] else []) l.

Section Serving.
Variables (P d : nat) (o : ordering) (b : nat -> bool) (N : nat).
Notation slots := (P + d).

(** In iteration [n]: a batch was formed [k] iterations ago. *)
Definition formed k n := (k <=? n) && b (n - k).

(** The last rank sends the output that it launched [d] iterations ago, the
    others what they received in the iteration before. *)
Definition sends_output r n := if S r =? P then formed d n else formed slots n.
Definition receives_output n := formed (slots - 1) n.

(** A send of the iteration before still has to be waited for. *)
Definition proxy_pending r n := (S r <? P) && formed 1 n.
Definition output_pending r n := (0 <? n) && sends_output r (n - 1).

Definition before_output r n : list (bool * op) :=
  [ (0 <? r, Recv (r - 1) REQUESTS);
    ((S r <? P) && (0 <? n), Wait (S r) REQUESTS);
    (S r <? P, Send (S r) REQUESTS);
    ((0 <? r) && b n, Recv (r - 1) PROXY);
    ((d =? 0) && proxy_pending r n, Wait (S r) PROXY);
    (output_pending r n, Wait (next P r) OUTPUT) ].

Definition output_phase r n : list (bool * op) :=
  halves (letter_of o r) (sends_output r n, Send (next P r) OUTPUT)
                         (receives_output n, Recv (prev P r) OUTPUT).

Definition after_output r n : list (bool * op) :=
  [ ((0 <? d) && proxy_pending r n, Wait (S r) PROXY);
    ((S r <? P) && b n, Send (S r) PROXY) ].

Definition iteration r n := before_output r n ++ output_phase r n ++ after_output r n.

(** After [N] iterations: the requests that say stop, and the waits that are open. *)
Definition tail r : list (bool * op) :=
  [ (0 <? r, Recv (r - 1) REQUESTS);
    ((S r <? P) && (0 <? N), Wait (S r) REQUESTS);
    (S r <? P, Send (S r) REQUESTS);
    (S r <? P, Wait (S r) REQUESTS);
    (proxy_pending r N, Wait (S r) PROXY);
    (output_pending r N, Wait (next P r) OUTPUT) ].

Definition serving : program :=
  {| ranks := P;
     code r := if r <? P then keep (flat_map (iteration r) (seq 0 N) ++ tail r) else [] |}.

(** Every batch has come back when the run ends. *)
Definition drained := forall m, b m = true -> m + slots < N.

(** Output transfer [r] (from rank [r] to the next) takes place in round [t]. *)
Definition active t r := (r <=? t) && sends_output r (t - r).

End Serving.

(** ** The run for a finite presence pattern *)

Definition pattern (present : list bool) n := nth n present false.

Fixpoint last_present (l : list bool) : option nat :=
  match l with
  | [] => None
  | c :: l => match last_present l with
              | Some i => Some (S i)
              | None => if c then Some 0 else None
              end
  end.

(** Iterations until every batch of the pattern has come back. *)
Definition iterations P d (present : list bool) :=
  match last_present present with
  | Some m => Nat.max (length present) (S (m + (P + d)))
  | None => length present
  end.

(** The loop of all ranks: iteration [n] forms a batch iff the pattern says so, then the ranks drain and stop. *)
Definition unroll P d o present := serving P d o (pattern present) (iterations P d present).

Lemma last_present_spec l m : nth m l false = true -> exists i, last_present l = Some i /\ m <= i.
Proof.
  revert m; induction l as [| c l IH]; intros [| m] H; cbn in H |- *; try easy.
  - subst c. destruct (last_present l) as [i |]; eexists; (split; [reflexivity | lia]).
  - destruct (IH m H) as (i & -> & G). exists (S i). split; [auto | lia].
Qed.

Theorem unroll_drains P d present : drained P d (pattern present) (iterations P d present).
Proof.
  intros m H. apply last_present_spec in H. destruct H as (i & E & G). unfold iterations. rewrite E. lia.
Qed.

(** ** Libraries for the loop *)

(** The library of the loop: one message of requests may be on its way, a data
    send (proxy, output) blocks until it is received. *)
Definition blocking_data : library :=
  {| room := fun _ _ t => if t =? REQUESTS then Upto 1 else Upto 0; rest := fun _ _ _ => Upto 0 |}.

(** The same with room for one output. *)
Definition storing_output : library :=
  {| room := fun _ _ t => if (t =? REQUESTS) || (t =? OUTPUT) then Upto 1 else Upto 0; rest := fun _ _ _ => Upto 0 |}.

(** Requests by an isend that returns at once, data by one that blocks: the case of XCCL. *)
Definition posting_requests : library :=
  {| room := fun _ _ t => if t =? REQUESTS then Unlimited else Upto 0; rest := fun _ _ _ => Upto 0 |}.
