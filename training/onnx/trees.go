package onnx

import "marquee/training/gbdt"

// Trees adds an operator that computes one column of out a model, from rows of features: out is batch x len(models), the sums of
// gbdt.Model.Raw.
func (g *Graph) Trees(features, out string, models []*gbdt.Model) {
	var e ensemble
	for target, m := range models {
		e.base = append(e.base, m.Base)
		for _, t := range m.Trees {
			e.tree(t, int64(target))
		}
		if len(m.Trees) == 0 { // the operator wants each target to have a tree
			e.tree(gbdt.Tree{{}}, int64(target))
		}
	}
	g.MLNode("TreeEnsembleRegressor", []string{features}, []string{out}, Attributes{
		"n_targets": len(models), "aggregate_function": "SUM", "post_transform": "NONE", "base_values": e.base,
		"nodes_treeids": e.treeID, "nodes_nodeids": e.nodeID, "nodes_featureids": e.feature, "nodes_modes": e.mode,
		"nodes_values": e.threshold, "nodes_truenodeids": e.left, "nodes_falsenodeids": e.right,
		"nodes_missing_value_tracks_true": e.missing,
		"target_treeids":                  e.leafTree, "target_nodeids": e.leafNode, "target_ids": e.leafTarget, "target_weights": e.leafValue,
	})
}

// ensemble is trees as the operator takes them: parallel lists of nodes and of leaves.
type ensemble struct {
	trees                                         int64
	base, threshold, leafValue                    []float32
	treeID, nodeID, feature, left, right, missing []int64
	leafTree, leafNode, leafTarget                []int64
	mode                                          []string
}

func (e *ensemble) tree(t gbdt.Tree, target int64) {
	for i, n := range t {
		e.treeID, e.nodeID = append(e.treeID, e.trees), append(e.nodeID, int64(i))
		e.feature, e.threshold = append(e.feature, int64(n.Feature)), append(e.threshold, n.Threshold)
		e.left, e.right = append(e.left, int64(n.Left)), append(e.right, int64(n.Right))
		var missing int64
		if n.MissingLeft {
			missing = 1
		}
		e.missing = append(e.missing, missing)
		if n.Left != 0 {
			e.mode = append(e.mode, "BRANCH_LEQ")
			continue
		}
		e.mode = append(e.mode, "LEAF")
		e.leafTree, e.leafNode = append(e.leafTree, e.trees), append(e.leafNode, int64(i))
		e.leafTarget, e.leafValue = append(e.leafTarget, target), append(e.leafValue, n.Value)
	}
	e.trees++
}
