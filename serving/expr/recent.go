package expr

import "sync"

// Recent keeps what was made last, by key: between size and twice as many. Each is made once, however many ask for it at a time. It
// is safe for concurrent use.
type Recent[K comparable, V any] struct {
	size int

	mu sync.Mutex
	// young takes what is asked for; when it is full it becomes old, and what was old goes.
	young, old map[K]*made[V]
}

type made[V any] struct {
	once  sync.Once
	value V
}

// NewRecent makes one that keeps size or more.
func NewRecent[K comparable, V any](size int) *Recent[K, V] {
	return &Recent[K, V]{size: size, young: make(map[K]*made[V])}
}

// Get returns what was made for the key, or makes it.
func (r *Recent[K, V]) Get(key K, make func() V) V {
	m := r.entry(key)
	m.once.Do(func() { m.value = make() })
	return m.value
}

func (r *Recent[K, V]) entry(key K) *made[V] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := r.young[key]; ok {
		return m
	}
	m, ok := r.old[key]
	if !ok {
		m = &made[V]{}
	}
	if len(r.young) >= r.size {
		r.old, r.young = r.young, make(map[K]*made[V], r.size)
	}
	r.young[key] = m
	return m
}
