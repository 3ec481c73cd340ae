package catalogv1

// TopicTitleChanges carries Title records keyed by title_id; compacted, so reading it from the start gives the whole
// catalogue. A withdrawn title is a record whose deleted field is set, never a null value.
const TopicTitleChanges = "title-changes"
