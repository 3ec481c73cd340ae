package events

// LimitIDs makes counting go through the files in several passes.
func (s *Set) LimitIDs(n int64) { s.maxIDs = n }
