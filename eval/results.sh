#!/usr/bin/env bash
# Writes every measured table of eval/RESULTS.md, each under the command it is from: make results. With ONLY, an extended regular expression
# of headings, the other tables that are there stay as they were measured: make results ONLY='gowalla, ALS|EASE'.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${DATA:-../shared/data}
marquee=$PWD/bin/marquee
folders=$(mktemp -d)
trap 'rm -rf "$folders"' EXIT

kept() { # what: whether the table is not to be measured now; prints it as it stands, where it does
  [[ -n ${ONLY:-} && ! $1 =~ $ONLY ]] || return 1
  local text
  text=$(awk -v heading="## $1" '/^## / { on = $0 == heading } on' eval/RESULTS.md)
  [[ -z $text ]] || printf '\n%s\n' "$text"
}

table() { # what command…: the table of a command, whose paths and folders are left out of what is printed
  local what=$1 shown
  shift
  kept "$what" && return
  shown=$*
  shown=${shown//"$data/"/"$"DATA/}
  shown=${shown//" --data-dir $folders/ml-100k"/}
  shown=${shown//" --data-dir $folders/ml-1m"/}
  shown=${shown/"$marquee"/marquee}
  printf '\n## %s\n\n```\n%s\n```\n\n' "$what" "$shown"
  "$@"
  echo "measured: $what" >&2
}

published() { # what format data model flags…
  local what=$1 format=$2 folder=$3 model=$4
  shift 4
  table "$what" "$marquee" eval benchmark --format "$format" --data "$data/$folder" --model "$model" "$@" --table markdown 2>>"$folders/log"
}

curve() { # what format data model preset epochs: quality on a validation cut against the processor time of training
  table "$1" "$marquee" eval benchmark --format "$2" --data "$data/$3" --model "$4" --preset "$5" --curve "$6" --table markdown 2>>"$folders/log"
}

offline() { # name
  kept "$1, protocol gt-90" && return
  "$marquee" import movielens "$data/$1" --data-dir "$folders/$1" >&2
  table "$1, protocol gt-90" "$marquee" eval offline --as-of max-event --model random,popular,popular_decayed,knn,userknn,ease,als,hybrid --format markdown --data-dir "$folders/$1" 2>>"$folders/log"
}

{
  cat <<'TEXT'
# Measured offline

Every table is written by `make results` (some of them anew, the others kept: `make results ONLY=...`), which runs the command above it; `$DATA` is the folder of the published data sets.
A number stands beside popularity and item-kNN, with the protocol it was taken by: numbers of different protocols do not compare.
Hyper-parameters were chosen by the same seeded search (`marquee eval tune`) on a validation cut from what trains.

## Against what is published

| split | model | published | here |
|---|---|---|---|
| gowalla, Recall@20 / NDCG@20 | most popular | .0416 / .0317 | table of popularity |
| gowalla | item-kNN (ItemCF of the BARS board) | .157 / .121 | table of item-kNN |
| gowalla | EASE (same board) | .1765 / .1467 | tables of EASE, and of ALS |
| gowalla | MF-CCL, SimpleX (Mao et al. 2021) | .1837 / .1493, .1872 / .1557 | table of the two towers |
| gowalla | LightGCN, BSPM-EM (BARS board) | .1830 / .1554, .1920 / .1597 | the same |
| NCF's ml-1m, HR@10 / NDCG@10 | MF (Rendle et al. 2020) | .7294 / .4523 | tables of NCF's ml-1m: with the order of watching, which the published one does not use, and without |
| gSASRec's ml-1m, Recall@10 / NDCG@10 | SASRec trained with one negative and binary cross-entropy | .2392 / .1259 | table of the sequential tower |
| gSASRec's ml-1m | gSASRec: many negatives and a calibrated loss; SASRec trained with a softmax of all titles | .3003 / .1726, .3058 / .1779 | the same |
TEXT
  published "gowalla, popularity" lightgcn gowalla popular --no-baselines
  published "gowalla, item-kNN" lightgcn gowalla knn --preset check-ins --no-baselines --slice history,popularity
  published "gowalla, ALS" lightgcn gowalla als --preset check-ins --no-baselines --slice history,popularity
  published "gowalla, two towers" lightgcn gowalla twotower --preset check-ins --seeds 3 --no-baselines
  curve "gowalla, two towers: quality against compute" lightgcn gowalla twotower check-ins 2,5,10
  curve "gowalla, ALS: quality against compute" lightgcn gowalla als check-ins 1,2,4,8
  published "gowalla, user-kNN" lightgcn gowalla userknn --preset check-ins --no-baselines
  # All 40,981 titles against each other: 6.4 GiB, and twenty minutes where two cores are shared.
  published "gowalla, EASE" lightgcn gowalla ease --preset check-ins --memory 7 --no-baselines
  published "NCF's ml-1m, ALS" ncf ncf-ml-1m als --preset movielens-1m --seeds 10
  published "NCF's ml-1m, ALS without the order" ncf ncf-ml-1m als --preset movielens-1m-unordered --seeds 10 --no-baselines
  published "gSASRec's ml-1m, item-kNN" sasrec ml-1m-gsasrec knn
  published "gSASRec's ml-1m, ALS" sasrec ml-1m-gsasrec als --preset movielens-1m-next --no-baselines
  published "gSASRec's ml-1m, sequential tower" sasrec ml-1m-gsasrec sasrec --preset movielens-1m --seeds 3 --no-baselines
  curve "gSASRec's ml-1m, sequential tower: quality against compute" sasrec ml-1m-gsasrec sasrec movielens-1m 2,5,10
  curve "gSASRec's ml-1m, ALS: quality against compute" sasrec ml-1m-gsasrec als movielens-1m-next 2,6,14
  offline ml-100k
  offline ml-1m
} >eval/RESULTS.md.new || { cat "$folders/log" >&2; exit 1; }
mv eval/RESULTS.md.new eval/RESULTS.md
