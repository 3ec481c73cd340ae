// Package model is the release bundle: everything serving needs of one training run, in a folder that is written once,
// checked when opened, memory-mapped, and replaced as a whole. It holds titles and never profiles: a profile's vector is
// folded in from its history by the very loss the titles were trained on.
//
//	manifest.json       what it is, how it was made, and the size and SHA-256 of every other file
//	titles.arrow        a row a title: title_id, popularity (all time), trending (decayed)
//	item_factors.arrow  a row a title: its vector, float32
//	gramian.arrow       sums of products of the vectors, float64
//	retrieve.ann        index of the vectors by inner product: titles for a profile
//	similar.ann         index of the vectors by cosine: titles like a title
//	content.arrow       a row a title of the catalogue, watched or not: its terms with their weights
//	terms.arrow         a row a term: the term and how much it says
//	ranker.onnx         puts candidates in order: features (batch x features) to scores (batch x 1)
//	outcomes.onnx       how likely they are played, and how far: features to scores (batch x 2)
//	neighbours.arrow    a row a title: when anybody first met it, and its nearest titles by who watches them
//	user_tower.onnx     a viewer's vector of what they watched
//	title_tower.onnx    a title's vector of its row and its terms, of a new title of its terms alone
//	title_vectors.arrow a row a title: its vector by the title tower, float32
//	towers.ann          index of these by inner product: titles for a viewer's vector by the tower
//
// A title's row is its number in every one of them but content and terms, which only a release made beside a catalogue has; ranker,
// outcomes and neighbours are those of a release whose ranker did better than the vectors alone, the last four those of one whose towers
// did no worse than popularity. Rows mean nothing outside their bundle.
package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"marquee/training/foldin"
)

// FormatVersion is the version of the folder's layout. Within a version fields and files are only ever added.
const FormatVersion = 1

// Names of the files of a bundle.
const (
	ManifestFile = "manifest.json"
	TitlesFile   = "titles.arrow"
	FactorsFile  = "item_factors.arrow"
	GramianFile  = "gramian.arrow"
	RetrieveFile = "retrieve.ann"
	SimilarFile  = "similar.ann"
	ContentFile  = "content.arrow"
	TermsFile    = "terms.arrow"
	// RankerFile, OutcomesFile and NeighboursFile are there together or not at all.
	RankerFile     = "ranker.onnx"
	OutcomesFile   = "outcomes.onnx"
	NeighboursFile = "neighbours.arrow"
	// The four of the towers are there together or not at all.
	UserTowerFile    = "user_tower.onnx"
	TitleTowerFile   = "title_tower.onnx"
	TitleVectorsFile = "title_vectors.arrow"
	TowersFile       = "towers.ann"
)

// maxManifest bounds what is read as a manifest.
const maxManifest = 16 << 20

// Errors of opening a bundle, to be matched with errors.Is.
var (
	// ErrCorrupt is a bundle whose content is not what its manifest says, or contradicts itself.
	ErrCorrupt = errors.New("corrupt model bundle")
	// ErrVersion is a bundle of a format this program does not read.
	ErrVersion = errors.New("unsupported model bundle format")
)

// Snapshot names the data a model was trained on.
type Snapshot struct {
	Set            string `json:"set"`
	ID             string `json:"id"`
	FeatureSetHash string `json:"feature_set_hash"`
}

// File is one file of a bundle.
type File struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // 64 lower-case hexadecimal digits
}

// Manifest describes a bundle.
type Manifest struct {
	FormatVersion int       `json:"format_version"`
	ID            string    `json:"id"`
	Created       time.Time `json:"created"` // by the wall clock
	AsOf          time.Time `json:"as_of"`   // the moment the model knows the world at
	Seed          uint64    `json:"seed"`
	CodeVersion   string    `json:"code_version"`
	Snapshot      Snapshot  `json:"snapshot"`
	Titles        int       `json:"titles"`
	Dim           int       `json:"dim"`
	// Described is the number of titles in content.arrow, Terms that in terms.arrow; 0 where there are none.
	Described    int   `json:"described,omitempty"`
	Terms        int   `json:"terms,omitempty"`
	Profiles     int   `json:"profiles"`     // trained on
	Interactions int64 `json:"interactions"` // trained on
	// Params is the loss that titles were trained on and profiles are folded in with.
	Params foldin.Params `json:"params"`
	// Hyperparameters are the other choices of the run, for people.
	Hyperparameters map[string]any `json:"hyperparameters,omitempty"`
	// Metrics holds, by model ("als", "popular", ...), the metrics measured before release, by name ("ndcg@10").
	Metrics map[string]map[string]float64 `json:"metrics,omitempty"`
	// Recall holds, by metric ("inner product", "cosine"), the share of the ten nearest titles that the index finds for profiles,
	// as measured when it was written.
	Recall map[string]float64 `json:"recall,omitempty"`
	// Ranker says what the release's ranker takes; nil where it has none.
	Ranker *RankerInfo `json:"ranker,omitempty"`
	// Towers says what the release's towers take; nil where it has none.
	Towers *TowersInfo `json:"towers,omitempty"`
	// Imported are the roles of models in it that were made elsewhere, and From the release that they were put into; empty where all is
	// its own.
	Imported []string `json:"imported,omitempty"`
	From     string   `json:"from,omitempty"`
	// Start says what training began from; nil where that was chance.
	Start *Start `json:"start,omitempty"`
	// Quality is what was found of the data before the run, for people.
	Quality *Quality        `json:"quality,omitempty"`
	Files   map[string]File `json:"files"`
}

// Start is what training began from: an earlier release's vectors of the titles that both have.
type Start struct {
	From string `json:"from"`
	// Titles is how many titles' vectors came from there, Towers how many that the towers know by number.
	Titles int `json:"titles"`
	Towers int `json:"towers,omitempty"`
}

// Quality says how the data that a model was trained on stood its checks.
type Quality struct {
	Checks []QualityCheck `json:"checks"`
	// Overruled are the checks that failed and were overruled by somebody.
	Overruled []Overrule `json:"overruled,omitempty"`
}

// QualityCheck is one check: what was measured, in events or as a share of events, and what was allowed.
type QualityCheck struct {
	Name     string  `json:"name"`
	Status   string  `json:"status"` // passed, failed or not_compared
	Unit     string  `json:"unit"`   // events or share
	Measured float64 `json:"measured"`
	Usual    float64 `json:"usual"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Note     string  `json:"note,omitempty"`
}

// Overrule records who let a failed check pass.
type Overrule struct {
	Check  string    `json:"check"`
	By     string    `json:"by"`
	Host   string    `json:"host"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// ValidID reports whether s can name a bundle: 1 to 100 letters, digits, dots, dashes and underscores, the first a letter or
// digit. Such a name is safe in paths and object keys.
func ValidID(s string) bool { return len(s) <= 100 && validName(s) }

func validName(s string) bool {
	for i, c := range []byte(s) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || c != '.' && c != '-' && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= 200
}

// DecodeManifest parses and checks a manifest. Errors wrap ErrCorrupt or ErrVersion.
func DecodeManifest(data []byte) (Manifest, error) {
	if len(data) > maxManifest {
		return Manifest{}, fmt.Errorf("%w: the manifest has %d bytes, more than %d", ErrCorrupt, len(data), maxManifest)
	}
	// The version first: a later format need not parse as this one.
	var version struct {
		FormatVersion *int `json:"format_version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return Manifest{}, fmt.Errorf("%w: manifest is not JSON: %w", ErrCorrupt, err)
	}
	if version.FormatVersion == nil {
		return Manifest{}, fmt.Errorf("%w: the manifest has no format_version", ErrCorrupt)
	}
	if *version.FormatVersion != FormatVersion {
		return Manifest{}, fmt.Errorf("%w %d: this program reads %d", ErrVersion, *version.FormatVersion, FormatVersion)
	}
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, fmt.Errorf("%w: the manifest is followed by something else", ErrCorrupt)
	}
	if err := m.validate(); err != nil {
		return Manifest{}, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	return m, nil
}

func (m Manifest) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !ValidID(m.ID) {
		fail("id %q must be 1 to 100 letters, digits, dots, dashes and underscores", m.ID)
	}
	if m.Titles < 1 || int64(m.Titles) > 1<<31-1 {
		fail("titles must be between 1 and 2147483647, is %d", m.Titles)
	}
	if m.Dim < 1 || m.Dim > 1<<16 {
		fail("dim must be between 1 and 65536, is %d", m.Dim)
	}
	if m.Profiles < 0 || m.Interactions < 0 {
		fail("profiles and interactions must be 0 or more, are %d and %d", m.Profiles, m.Interactions)
	}
	_, titles := m.Files[ContentFile]
	_, terms := m.Files[TermsFile]
	if titles != terms || titles != (m.Described > 0) || titles != (m.Terms > 0) || int64(m.Described) > 1<<31-1 || int64(m.Terms) > 1<<31-1 {
		fail("described and terms are %d and %d, which goes with both or none of %s and %s", m.Described, m.Terms, ContentFile, TermsFile)
	}
	for _, name := range []string{RankerFile, OutcomesFile, NeighboursFile} {
		if _, there := m.Files[name]; there != (m.Ranker != nil) {
			fail("files must name %s where there is a ranker, and only there", name)
		}
	}
	if m.Ranker != nil && (m.Ranker.Neighbours < 1 || m.Ranker.Neighbours > MaxNeighbours || m.Ranker.Candidates < 1) {
		fail("ranker: neighbours must be between 1 and %d and candidates 1 or more, are %d and %d", MaxNeighbours, m.Ranker.Neighbours, m.Ranker.Candidates)
	}
	for _, name := range []string{UserTowerFile, TitleTowerFile, TitleVectorsFile, TowersFile} {
		if _, there := m.Files[name]; there != (m.Towers != nil) {
			fail("files must name %s where there are towers, and only there", name)
		}
	}
	if m.Towers != nil {
		errs = append(errs, m.Towers.validate())
	}
	if m.AsOf.IsZero() || m.Created.IsZero() {
		fail("as_of and created must be set")
	}
	if err := m.Params.Validate(); err != nil {
		fail("params: %w", err)
	}
	for _, name := range []string{TitlesFile, FactorsFile, GramianFile, RetrieveFile, SimilarFile} {
		if _, ok := m.Files[name]; !ok {
			fail("files must name %s", name)
		}
	}
	for name, f := range m.Files {
		sum, err := hex.DecodeString(f.SHA256)
		if !validName(name) || name == ManifestFile || f.Bytes < 1 || err != nil || len(sum) != sha256.Size {
			fail("files: %q with %d bytes and checksum %q is not a file of a bundle", name, f.Bytes, f.SHA256)
		}
	}
	return errors.Join(errs...)
}

// makeID derives the bundle's name from the moment it knows the world at and from everything that decides its answers, so that
// the same training gives the same name. Indexes are left out: a graph built by several threads is another graph each time. So is
// what was found of the data's quality: it decides whether there is a release, not what it answers.
func (m Manifest) makeID() (string, error) {
	m.ID, m.Created, m.CodeVersion, m.Quality, m.Recall = "", time.Time{}, "", nil, nil
	files := map[string]File{}
	for _, name := range []string{TitlesFile, FactorsFile, GramianFile, ContentFile, TermsFile, RankerFile, OutcomesFile, NeighboursFile, UserTowerFile, TitleTowerFile, TitleVectorsFile} {
		if f, ok := m.Files[name]; ok {
			files[name] = f
		}
	}
	m.Files = files
	data, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode manifest: %w", err)
	}
	sum := sha256.Sum256(data)
	return m.AsOf.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(sum[:6]), nil
}
