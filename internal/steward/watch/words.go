package watch

import (
	"fmt"
	"strconv"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// name says what an alert is about in words.
func (l *look) name(kind gatehouse.AlertSubject, a *store.Activity) (string, error) {
	switch kind {
	case gatehouse.AboutKey:
		k, name, err := l.key(a.Subject)
		if k == nil {
			name = "key " + a.Subject
		}
		return name, err
	case gatehouse.AboutModel:
		project, err := l.project(a.Project)
		return fmt.Sprintf("model %s in %s", quoted(a.Model), project), err
	}
	return l.project(a.Project)
}

func (l *look) project(id string) (string, error) {
	p, err := l.tx.Project(id)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return "project " + id, nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("project %s (%s)", quoted(p.Name), id), nil
}

// quoted returns a name in quotes, without what would break a line.
func quoted(name string) string { return strconv.Quote(name) }

// dollars returns money for people: to the cent, and below ten cents to what shows it.
func dollars(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	if n >= 100_000_000 || n == 0 {
		cents := (n + 5_000_000) / 10_000_000
		return fmt.Sprintf("%s$%d.%02d", sign, cents/100, cents%100)
	}
	return sign + "$" + strings.TrimRight(fmt.Sprintf("0.%09d", n), "0")
}

// percent returns millionths as a percentage.
func percent(ppm int64) string {
	if ppm <= 1 {
		return "0%"
	}
	return strconv.FormatFloat(float64(ppm)/10_000, 'g', 3, 64) + "%"
}
