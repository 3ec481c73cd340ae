package ingestv1

// The topics this contract owns.
const (
	// TopicWatchEvents carries WatchEvent records keyed by profile_id.
	TopicWatchEvents = "watch-events"
	// TopicDeadLetters carries DeadLetter records: what arrived on TopicWatchEvents and could not be read.
	TopicDeadLetters = "watch-events.dead"
)

// The content types a record on TopicWatchEvents may declare in its content-type header. None means ContentTypeProto.
const (
	HeaderContentType = "content-type"
	ContentTypeProto  = "application/x-protobuf"
	ContentTypeJSON   = "application/json"
)
