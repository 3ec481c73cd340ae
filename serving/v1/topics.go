package servingv1

// TopicServed carries Served records keyed by profile_id: what was answered.
const TopicServed = "served"
