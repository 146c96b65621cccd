package adminapi

import (
	"net/url"
	"slices"
	"strconv"

	"gatehouse"
	"gatehouse/internal/store"
)

// list is OpenAI's styles A and B: the next page is asked for by the id of the last element.
type list[T any] struct {
	Object  string  `json:"object"`
	Data    []T     `json:"data"`
	FirstID *string `json:"first_id"`
	LastID  *string `json:"last_id"`
	HasMore bool    `json:"has_more"`
}

// listOf turns a page of E into a list of what show makes of each.
func listOf[E, T any](elements []E, more bool, show func(*E) (T, string)) *list[T] {
	l := &list[T]{Object: "list", Data: []T{}, HasMore: more}
	for i := range elements {
		v, id := show(&elements[i])
		l.Data = append(l.Data, v)
		if i == 0 {
			l.FirstID = &id
		}
		l.LastID = &id
	}
	return l
}

// listed answers a list: it reads the page that is asked for, gets it and shows each element.
func listed[E, T any](c *call, newestFirst bool, get func(store.Page) ([]E, bool, error), show func(*E) (T, string)) (any, error) {
	page, err := c.page(newestFirst)
	if err != nil {
		return nil, err
	}
	elements, more, err := get(page)
	if err != nil {
		return nil, err
	}
	return listOf(elements, more, show), nil
}

// shown answers one element, or the error instead of it.
func shown[E, T any](element *E, err error, show func(*E) (T, string)) (any, error) {
	if err != nil {
		return nil, err
	}
	v, _ := show(element)
	return v, nil
}

// nextList is OpenAI's style C: the next page is asked for by what stands in next.
type nextList[T any] struct {
	Object  string  `json:"object"`
	Data    []T     `json:"data"`
	HasMore bool    `json:"has_more"`
	Next    *string `json:"next"`
}

// nextListOf turns a page of E into a list of what show makes of each.
func nextListOf[E, T any](elements []E, more bool, show func(*E) (T, string)) *nextList[T] {
	l := &nextList[T]{Object: "list", Data: []T{}, HasMore: more}
	for i := range elements {
		v, id := show(&elements[i])
		l.Data = append(l.Data, v)
		if more && i == len(elements)-1 {
			l.Next = &id
		}
	}
	return l
}

// nextListed answers a list of style C, of which a page has most elements at most and fallback where the caller does not say.
func nextListed[E, T any](c *call, most, fallback int64, get func(store.Page) ([]E, bool, error), show func(*E) (T, string)) (any, error) {
	page, err := c.pageOf(false, 0, most, fallback)
	if err != nil {
		return nil, err
	}
	elements, more, err := get(page)
	if err != nil {
		return nil, err
	}
	return nextListOf(elements, more, show), nil
}

// cut returns the page of a list that is there as a whole, in the order of ids. What a cursor names need not be in it any more.
func cut[E any](all []E, page store.Page, id func(*E) string) (elements []E, more bool) {
	if page.Desc {
		slices.Reverse(all)
	}
	if page.After != "" {
		at := slices.IndexFunc(all, func(e E) bool { return id(&e) != page.After && id(&e) > page.After != page.Desc })
		if at < 0 {
			return nil, false
		}
		all = all[at:]
	}
	if len(all) > page.Limit {
		return all[:page.Limit], true
	}
	return all, false
}

// page reads limit, after, before and order.
func (c *call) page(descending bool) (store.Page, error) { return c.pageOf(descending, 1, 100, 20) }

// pageOf is page with other bounds of limit. A limit of 0, which OpenAI allows in lists of style C, says nothing.
func (c *call) pageOf(descending bool, least, most, fallback int64) (store.Page, error) {
	q := c.URL.Query()
	p := store.Page{After: q.Get("after"), Before: q.Get("before"), Limit: 20, Desc: descending}
	if p.After != "" && p.Before != "" {
		return p, gatehouse.InvalidParam("before", "Only one of 'after' and 'before' may be given.")
	}
	switch q.Get("order") {
	case "":
	case "asc":
		p.Desc = false
	case "desc":
		p.Desc = true
	default:
		return p, gatehouse.InvalidParam("order", "Invalid 'order': must be 'asc' or 'desc'.")
	}
	n, err := integer(q, "limit", least, most, fallback)
	if n == 0 {
		n = fallback
	}
	p.Limit = int(n)
	return p, err
}

// integer reads a number of a query within bounds.
func integer(q url.Values, name string, least, most, fallback int64) (int64, error) {
	text := q.Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, gatehouse.InvalidParam(name, "Invalid '%s': must be a whole number between %d and %d.", name, least, most)
	}
	return n, nil
}

// many reads a list of a query in both spellings clients use: k[]=a&k[]=b and k=a&k=b.
func many(q url.Values, name string) []string {
	return append(append([]string(nil), q[name+"[]"]...), q[name]...)
}

// flag reads a boolean of a query.
func flag(q url.Values, name string) (bool, error) {
	switch q.Get(name) {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	}
	return false, gatehouse.InvalidParam(name, "Invalid '%s': must be true or false.", name)
}
