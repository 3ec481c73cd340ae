package movielens

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// layout is one way MovieLens sets are published.
type layout struct {
	name      string
	namespace string
	ratings   string
	movies    string
	// header is the first line of both files, empty when there is none.
	ratingsHeader, moviesHeader string
	split                       splitRating
	parseMovie                  func([]byte) (movie, *problem)
	halfStars                   bool
	// ratingForm and starsForm describe what is right.
	ratingForm, starsForm string
}

func layouts() []layout {
	return []layout{
		{
			name: "ml-100k", namespace: "ml100k", ratings: "u.data", movies: "u.item", split: splitBy("\t"), parseMovie: parseMovie100K,
			ratingForm: "user, movie, rating and timestamp separated by tabs", starsForm: "a whole number from 1 to 5",
		},
		{
			name: "ml-1m", namespace: "ml1m", ratings: "ratings.dat", movies: "movies.dat", split: splitBy("::"), parseMovie: parseMovie1M,
			ratingForm: "user::movie::rating::timestamp", starsForm: "a whole number from 1 to 5",
		},
		{
			name: "ml-latest", namespace: "mllatest", ratings: "ratings.csv", movies: "movies.csv", split: splitBy(","), parseMovie: parseMovieCSV,
			ratingsHeader: "userId,movieId,rating,timestamp", moviesHeader: "movieId,title,genres",
			halfStars: true, ratingForm: "user,movie,rating,timestamp", starsForm: "0.5 to 5 in steps of half a star",
		},
	}
}

// detect finds which layout a folder has.
func detect(dir string) (layout, error) {
	if info, err := os.Stat(dir); err != nil {
		return layout{}, fmt.Errorf("open the MovieLens folder: %w", err)
	} else if !info.IsDir() {
		return layout{}, fmt.Errorf("%s is a file: give the folder that holds the MovieLens files", dir)
	}
	var found []layout
	var half, looked []string
	for _, l := range layouts() {
		ratings, err := isFile(dir, l.ratings)
		if err != nil {
			return layout{}, err
		}
		movies, err := isFile(dir, l.movies)
		if err != nil {
			return layout{}, err
		}
		switch {
		case ratings && movies:
			found = append(found, l)
		case ratings:
			half = append(half, fmt.Sprintf("%s is there but %s is missing", l.ratings, l.movies))
		case movies:
			half = append(half, fmt.Sprintf("%s is there but %s is missing", l.movies, l.ratings))
		}
		looked = append(looked, fmt.Sprintf("%s and %s (%s)", l.ratings, l.movies, l.name))
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return layout{}, fmt.Errorf("%s holds the files of %s and of %s: keep one set in a folder", dir, found[0].name, found[1].name)
	case len(half) > 0:
		return layout{}, fmt.Errorf("no MovieLens set in %s: %s", dir, strings.Join(half, "; "))
	default:
		return layout{}, fmt.Errorf("no MovieLens set in %s: looked for %s", dir, strings.Join(looked, ", "))
	}
}

func isFile(dir, name string) (bool, error) {
	info, err := os.Stat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the MovieLens folder: %w", err)
	}
	return info.Mode().IsRegular(), nil
}
