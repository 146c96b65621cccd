package usage

import "bytes"

// node is a place in the JSON that is looked at, or leads to one.
type node struct {
	keys   [32][]child // by the first letter
	object bool        // there are keys
	elem   *node
	slot   Slot
	keep   keeping
	made   Made
	count  Count
	counts bool
	text   bool
	words  map[string]Count // strings in JSON, with their quotes, that are counted here
}

type child struct {
	name string
	node *node
}

var root = places()

// places builds the tree of all paths.
func places() *node {
	top := &node{}
	for slot, name := range slotNames {
		for _, path := range []string{name, "response." + name, "response.body." + name} {
			n := top.at(path)
			n.slot, n.keep = Slot(slot), n.keep|keepSlot
		}
	}
	for c, paths := range countPaths {
		for _, path := range paths {
			n := top.at(path)
			n.count, n.counts = Count(c), true
		}
	}
	for _, path := range textPaths {
		top.at(path).text = true
	}
	for path, words := range wordPaths {
		n := top.at(path)
		n.keep |= keepWord
		n.words = make(map[string]Count, len(words))
		for word, count := range words {
			n.words[`"`+word+`"`] = count
		}
	}
	for kind, paths := range madePaths {
		for _, path := range paths {
			n := top.at(path)
			n.made, n.keep = kind, n.keep|keepMade
		}
	}
	return top
}

// at returns the place of a path below n, such as "choices[].delta", adding what is missing.
func (n *node) at(path string) *node {
	for path != "" {
		if rest, ok := bytes.CutPrefix([]byte(path), []byte("[]")); ok {
			path = string(bytes.TrimPrefix(rest, []byte(".")))
			if n.elem == nil {
				n.elem = &node{}
			}
			n = n.elem
			continue
		}
		end := 0
		for end < len(path) && path[end] != '.' && path[end] != '[' {
			end++
		}
		name := path[:end]
		path = path[end:]
		if path != "" && path[0] == '.' {
			path = path[1:]
		}
		next := n.find([]byte(name))
		if next == nil {
			next = &node{}
			n.keys[name[0]&31] = append(n.keys[name[0]&31], child{name, next})
			n.object = true
		}
		n = next
	}
	return n
}

func (n *node) find(key []byte) *node {
	if len(key) == 0 {
		return nil
	}
	for _, c := range n.keys[key[0]&31] {
		if c.name == string(key) {
			return c.node
		}
	}
	return nil
}
