// Package movielens imports the MovieLens data sets as GroupLens publishes them: ratings become watch events, through the
// broker like every other event, and movies become titles of the catalogue.
//
// Layouts, told apart by their files:
//
//	ml-100k    u.data, u.item         tab and | separated, Latin-1
//	ml-1m      ratings.dat, movies.dat  :: separated, Latin-1
//	ml-latest  ratings.csv, movies.csv  CSV with a header, UTF-8 (ml-latest, ml-latest-small, ml-20m, ml-25m, ml-32m)
//
// # How a rating becomes a watch
//
// MovieLens knows what a viewer thought of a film, not how much of it was seen. One rating becomes one play_end event of a
// nominal film of 100 minutes (duration_ms 6,000,000) of which rating/5 was watched: five stars are a film seen to its
// end (watched_ms 6,000,000), one star 20 minutes of it, half a star ten. So completion is the rating on the scale from
// 0 to 1, and the strength of a watch grows with it as everywhere else.
//
//   - occurred_at is the rating's timestamp. It is believed, however old: the event carries an import_id
//     (movielens:NAMESPACE), and clocks are judged on live events only.
//   - profile_id and title_id are NAMESPACE:USER and NAMESPACE:MOVIE, with the namespaces ml100k, ml1m and mllatest unless
//     another is given. The CSV sets number their users afresh in each edition: give each a namespace of its own to keep
//     two of them side by side.
//   - event_id is a UUID of version 7 made of the timestamp and a hash of namespace, user, movie and timestamp, so a rating
//     is the same event however often it is imported. play_id is the event_id.
//   - Events are published in the order of occurred_at; equal timestamps keep the order of the file.
//
// # How a movie becomes a title
//
// A film with the name of the file without its year, the year, its genres, no maturity rating (MovieLens has none, and
// what is unrated is never shown to a profile with a limit), and available everywhere and always. added_at, by which rows
// of new titles go, is the start of the year of release, or the film's first rating where that is earlier; 0 when the
// year is unknown. MovieLens does not tell when a film entered its catalogue, and first ratings would show as new
// whatever obscure film was first rated last.
package movielens
