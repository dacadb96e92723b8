(** * The bridge to the executable model

    Verdicts and programs computed inside Coq, printed as lines of text, for a
    test that compares them with the Python model.  Each verdict is that of
    [check], which is the verdict of the transition relation (theorem
    [check_correct]). *)

From Coq Require Import List Arith Bool String DecimalString.
From Ringproof Require Import Semantics Determinism Checker Ring RingVerdicts Parallel Serving.
Import ListNotations.
Open Scope string_scope.
Open Scope list_scope.

Definition number n := NilEmpty.string_of_uint (Nat.to_uint n).
Definition words := String.concat " ".
Definition bits (l : list bool) := String.concat "" (map (fun c : bool => if c then "1" else "0") l).
Definition letters (o : ordering) :=
  String.concat "" (map (fun l => match l with SendFirst => "S" | RecvFirst => "R" end) o).

Definition sizes := [2; 3; 4; 5; 6; 7; 8].

(** ** Rings: 1 where the ordering deadlocks, in the order SS..S, SS..R, ..., RR..R *)
Definition ring_line (name : string) (L : library) P K :=
  words ["ring"; name; number P; number K;
         bits (map (fun o => negb (check (ring o K) L)) (all_orderings P))].

Definition ring_lines :=
  flat_map (fun P => flat_map (fun K =>
    [ring_line "rendezvous" rendezvous P K; ring_line "bounded(1)" (bounded 1) P K;
     ring_line "eager" eager P K]) [1; 2; 3]) sizes.

Definition parity_lines := map (fun P => words ["parity"; number P; letters (parity P)]) sizes.

(** Steps of the greedy parallel run; 0 where it gets stuck. *)
Fixpoint greedy_steps (o : ordering) (K fuel : nat) (s : state) : option nat :=
  if at_end (ring o K) s then Some 0 else
  match fuel with
  | 0 => None
  | S fuel => option_map S (greedy_steps o K fuel (fire o (greedy o K s) s))
  end.

Definition steps_of o K :=
  match greedy_steps o K (2 * K * List.length o) (start (ring o K)) with Some n => n | None => 0 end.

(** One round under all orderings, and many rounds of parity. *)
Definition greedy_lines :=
  map (fun P => words ("greedy" :: number P :: map (fun o => number (steps_of o 1)) (all_orderings P))) sizes ++
  map (fun P => words ("optimal" :: number P :: map (fun K => number (steps_of (parity P) K)) [1; 2; 3; 4; 5; 6; 7; 8]))
      [2; 3; 4; 5; 6; 7; 8; 9].

(** ** Serving loops *)

Fixpoint patterns n : list (list bool) :=
  match n with
  | 0 => [[]]
  | S n => map (cons true) (patterns n) ++ map (cons false) (patterns n)
  end.

(** Under [posting_requests], the case of XCCL, and under [posting], gloo.
    Per presence pattern 11..1, 11..0, ..., 00..0: whether the loop deadlocks. *)
Definition serving_line (name : string) (L : library) P d n o :=
  words ["serving"; name; number P; number d; number n; letters o;
         bits (map (fun present => negb (check (tabulate (unroll P d o present)) L)) (patterns n))].

(** [check_tabulate] applies: the code of ranks outside the ring is empty. *)
Lemma unroll_verdict P d o present L :
  check (tabulate (unroll P d o present)) L = true <-> deadlock_free (unroll P d o present) L.
Proof.
  rewrite check_tabulate; [apply check_correct |]. intros r H.
  cbn [unroll serving ranks code] in *. apply Nat.ltb_ge in H. now rewrite H.
Qed.

Definition serving_lines :=
  flat_map (fun d => flat_map (fun P => flat_map (fun o =>
    [serving_line "blocking" posting_requests P d 4 o; serving_line "posting" posting P d 4 o])
    (all_orderings P)) [2; 3]) [0; 1; 2].

(** ** The text of programs *)
Definition op_text (x : op) :=
  match x with
  | Send q t => String.concat "" ["S"; number q; "."; number t]
  | Recv q t => String.concat "" ["R"; number q; "."; number t]
  | Wait q t => String.concat "" ["W"; number q; "."; number t]
  end.

Definition program_text (p : program) : string :=
  String.concat " | " (map (fun r => words (map op_text (code p r))) (seq 0 (ranks p))).

(** Full load; load that comes and goes; iterations without a batch; no iteration. *)
Definition loads :=
  [[true; true; true; true; true]; [true; false; true; true; false; false; false; false; false; false; true];
   [false; false]; []].

Definition program_line P d o present :=
  words ["program"; number P; number d; letters o; bits present; program_text (unroll P d o present)].

Definition program_lines :=
  flat_map (fun P => flat_map (fun d => flat_map (fun o => map (program_line P d o) loads)
    [parity P; repeat SendFirst P; repeat RecvFirst P]) [0; 1; 2]) [2; 3; 4].

(** One line each, with a mark that sets them apart from Coq's own words. *)
Definition lines := map (fun l => words [">"; l; "<"])
  (ring_lines ++ parity_lines ++ greedy_lines ++ serving_lines ++ program_lines).

Set Printing Width 1000000.
Set Printing Depth 1000000.
Eval vm_compute in lines.
