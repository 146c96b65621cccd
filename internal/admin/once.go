package admin

import (
	"context"
	"errors"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// CodeInProgress is the code of a call whose Idempotency-Key another call has that has not been answered yet; CodeKeyReused of one whose
// Idempotency-Key stands for something else; CodeAnswerLost of one that was made, and whose answer nobody kept.
const (
	CodeInProgress = "idempotency_in_progress"
	CodeKeyReused  = "idempotency_key_reused"
	CodeAnswerLost = "idempotency_answer_lost"
)

// answerGrace is how long a call may be on its way before its answer counts as lost.
const answerGrace = 60_000 // gatehouse.Millis

// Answered returns what the call of a name was answered, "" where no such call was made within the last 24 hours. hash is of what is asked
// now. It returns an error where the name stands for something else, or where the answer is not there: not yet, or because it held a
// secret.
func (s *Service) Answered(ctx context.Context, who *gatehouse.Principal, name, hash string) (status int, answer string, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		c, err := tx.IdempotentCall(who.Organization, who.Actor.Key, name)
		switch {
		case gatehouse.KindOf(err) == gatehouse.NotFound:
			return nil
		case err != nil:
			return err
		case c.Hash != hash:
			return &gatehouse.Error{Kind: gatehouse.Invalid, Code: CodeKeyReused, NoRetry: true,
				Message: "This Idempotency-Key was used for another call within the last 24 hours. Use a new one for each call, and the same only to repeat a call with the same path and body."}
		case c.Status > 0:
			status, answer = c.Status, c.Answer
			return nil
		case c.Status == 0 && tx.Now < c.At+answerGrace:
			return inProgress()
		}
		return &gatehouse.Error{Kind: gatehouse.Conflict, Code: CodeAnswerLost, NoRetry: true,
			Message: "The call with this Idempotency-Key was made at " + time.UnixMilli(int64(c.At)).UTC().Format(time.RFC3339) + " and changed " + string(c.Subject) + " " + c.SubjectID +
				". Its answer is not kept: it held a secret, which is shown once, or the node was interrupted. Read what is there; if the secret did not reach you, delete it and call again with another Idempotency-Key."}
	})
	return status, answer, err
}

func inProgress() error {
	return &gatehouse.Error{Kind: gatehouse.Conflict, Code: CodeInProgress, RetryAfterMillis: 1000, Message: "A call with this Idempotency-Key is on its way. Repeat it in a moment to get its answer."}
}

// Keep keeps what a call was answered that changed something; a negative status says that it cannot be kept.
func (s *Service) Keep(ctx context.Context, who *gatehouse.Principal, status int, answer string) error {
	if !who.Once.Made {
		return nil
	}
	return s.cfg.DB.KeepAnswer(ctx, who.Organization, who.Actor.Key, who.Once.Name, status, answer)
}

// noteOnce stores, with the change that a call makes, that the call was made.
func noteOnce(tx *store.Tx, who *gatehouse.Principal) error {
	if who.Once == nil || who.Once.Made {
		return nil
	}
	if err := tx.DropIdempotentCall(who.Organization, who.Actor.Key, who.Once.Name); err != nil {
		return err
	}
	ev := tx.Event()
	err := tx.CreateIdempotentCall(&store.IdempotentCall{Organization: who.Organization, Actor: who.Actor.Key, Name: who.Once.Name, Hash: who.Once.Hash, Subject: ev.Subject, SubjectID: ev.SubjectID, At: tx.Now})
	if e, ok := errors.AsType[*gatehouse.Error](err); ok && e.Kind == gatehouse.Conflict {
		return inProgress() // another call was faster
	}
	return err
}
