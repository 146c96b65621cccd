package store

import (
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"

	"gatehouse"
)

// Page selects a part of a list, which is ordered by age and then id. The cursors are ids of elements and are not part of the
// page; they hold their place also when the element has been revoked, archived or removed since. With Before the page is the one
// that ends just before the cursor, in the same order as ever.
type Page struct {
	After  string
	Before string
	Limit  int // 1 to MaxPage; 0: 20
	Desc   bool
}

// MaxPage is the largest page.
const MaxPage = 1000

// selection builds a query from constant fragments. Values only ever become arguments.
type selection struct {
	where []string
	args  []any
}

// and adds a condition in which every ? stands for the next value.
func (s *selection) and(condition string, values ...any) {
	for _, v := range values {
		s.args = append(s.args, v)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(s.args)), 1)
	}
	s.where = append(s.where, condition)
}

// in adds a condition that column is one of values, if there are any.
func (s *selection) in(column string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = label(v) // as it was stored
	}
	s.and(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

func (s *selection) clone() selection {
	return selection{where: slices.Clone(s.where), args: slices.Clone(s.args)}
}

// list is the SQL of one paged list.
type list[T any] struct {
	what   string // plural, for errors
	query  string // SELECT ... FROM ..., without WHERE
	from   string // the table alone, to look up a cursor
	age    string // the column of the age
	id     string // the column of the id
	scan   func(row, *T) error
	scope  selection // whose list it is; a cursor must be in it
	filter selection // what is shown of it: continues scope's arguments
}

// page runs a list. hasMore tells whether the list goes on in the direction of the page.
func page[T any](tx *Tx, l list[T], p Page) (elements []T, hasMore bool, err error) {
	switch {
	case p.Limit == 0:
		p.Limit = 20
	case p.Limit < 0 || p.Limit > MaxPage:
		return nil, false, gatehouse.InvalidParam("limit", "Invalid 'limit': it must be between 1 and %d.", MaxPage)
	}
	if p.After != "" && p.Before != "" {
		return nil, false, gatehouse.InvalidParam("before", "Invalid 'before': it cannot be combined with 'after'.")
	}
	sel := l.filter
	if len(sel.where) == 0 {
		sel = l.scope.clone()
	}
	backward := p.Before != ""
	up := p.Desc == backward // the direction in which the query walks
	if cursor := p.After + p.Before; cursor != "" {
		at, err := l.place(tx, cursor)
		if errors.Is(err, sql.ErrNoRows) {
			param := "after"
			if backward {
				param = "before"
			}
			return nil, false, gatehouse.InvalidParam(param, "Invalid '%s': no element of this list has the id '%s'.", param, cursor)
		} else if err != nil {
			return nil, false, tx.db.fail("list "+l.what, err)
		}
		compare := "<"
		if up {
			compare = ">"
		}
		sel.and("("+l.age+", "+l.id+") "+compare+" (?, ?)", at, cursor)
	}
	query := l.query + " WHERE " + strings.Join(sel.where, " AND ") + " ORDER BY " + l.age + ", " + l.id
	if !up {
		query = l.query + " WHERE " + strings.Join(sel.where, " AND ") + " ORDER BY " + l.age + " DESC, " + l.id + " DESC"
	}
	sel.args = append(sel.args, p.Limit+1)
	query += " LIMIT $" + strconv.Itoa(len(sel.args))
	if elements, err = all(tx, l.what, l.scan, query, sel.args...); err != nil {
		return nil, false, err
	}
	if hasMore = len(elements) > p.Limit; hasMore {
		elements = elements[:p.Limit]
	}
	if backward {
		slices.Reverse(elements)
	}
	return elements, hasMore, nil
}

// place returns the age of a cursor's element.
func (l *list[T]) place(tx *Tx, cursor string) (int64, error) {
	sel := l.scope.clone()
	sel.and(l.id+" = ?", cursor)
	query := "SELECT " + l.age + " FROM " + l.from + " WHERE " + strings.Join(sel.where, " AND ")
	tx.db.traced(query)
	var at int64
	err := tx.tx.QueryRowContext(tx.ctx, query, searchable(sel.args)...).Scan(&at)
	return at, err
}
