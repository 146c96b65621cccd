package usage

import "bytes"

// node is a place in the JSON that is looked at, or leads to one. It fills one line of the cache and holds its name itself: to find
// a member of an answer touches one node, and of its siblings most often none.
type node struct {
	name    [maxName]byte
	nameLen uint8
	slot    Slot
	keep    keeping
	count   Count
	counts  bool
	text    bool
	words   uint8 // which of wordLists are counted here
	made    Made
	keys    *keyTable // nil when there are no keys
	elem    *node
	sibling *node // another key of the same row
}

// maxName is the longest name there is.
const maxName = 27

// keyTable are the keys of an object, in rows by their first letter and their length.
type keyTable [32]*node

func row(key []byte) uint { return (uint(key[0]) + uint(len(key))*5) % uint(len(keyTable{})) }

// The tree of all paths, and what its nodes' words stand for: strings in JSON, with their quotes, that are counted.
var root, wordLists = places()

func places() (top *node, lists []map[string]Count) {
	top, lists = &node{}, make([]map[string]Count, 1, 1+len(wordPaths)) // of the first list is every node without words
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
		n.words = uint8(len(lists))
		quoted := make(map[string]Count, len(words))
		for word, count := range words {
			quoted[`"`+word+`"`] = count
		}
		lists = append(lists, quoted)
	}
	for kind, paths := range madePaths {
		for _, path := range paths {
			n := top.at(path)
			n.made, n.keep = kind, n.keep|keepMade
		}
	}
	return top, lists
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
			if n.keys == nil {
				n.keys = &keyTable{}
			}
			first := &n.keys[row([]byte(name))]
			next = &node{nameLen: uint8(len(name)), sibling: *first}
			if copy(next.name[:], name) < len(name) {
				panic("usage: the name " + name + " is too long")
			}
			*first = next
		}
		n = next
	}
	return n
}

// find returns the member of a name, or nil when it leads nowhere.
func (n *node) find(key []byte) *node {
	if len(key) == 0 || n.keys == nil {
		return nil
	}
	for m := n.keys[row(key)]; m != nil; m = m.sibling {
		if string(m.name[:m.nameLen]) == string(key) {
			return m
		}
	}
	return nil
}
