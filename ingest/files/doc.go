// Package files imports tables of events and titles, in any form a table has (package tabular), as a mapping says
// (package mapping), and shows what an import would do.
//
// # Once in effect
//
// The same row is the same event whenever it is imported, so importing twice changes no count. A cursor in the database
// says up to which row the broker has everything; an import that was interrupted goes on there, at the byte, and one
// that is done has nothing to do. The cursor belongs to a file by its path and namespace, and holds the file to its size,
// time and both ends: a file that is not the one it was is refused until somebody says what to do about it.
//
// Standard input has no cursor: it is imported from its start every time, to the same events.
//
// # Rows that are wrong
//
// A row that cannot be taken never costs its neighbours. It is counted by reason, listed with its file and line, and
// written to where rejected rows go. A file none of whose first thousand rows can be taken is taken to be mapped wrongly,
// and an import can be told how many rejected rows are too many.
package files
