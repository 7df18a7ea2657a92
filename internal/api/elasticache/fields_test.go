package elasticache

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// deprecated members have had no meaning for years, on AWS as here.
var deprecated = map[string]string{"ModifyReplicationGroupInput": "NodeGroupId"}

// TestNoMemberIsDropped: every member of the inputs is read somewhere in this
// package, be it to hand it on or to refuse it.
func TestNoMemberIsDropped(t *testing.T) {
	read := selectors(t)
	for _, in := range []any{
		elasticache.CreateReplicationGroupInput{},
		elasticache.DescribeReplicationGroupsInput{},
		elasticache.ModifyReplicationGroupInput{},
		elasticache.DeleteReplicationGroupInput{},
		elasticache.CreateCacheClusterInput{},
		elasticache.DescribeCacheClustersInput{},
		elasticache.ModifyCacheClusterInput{},
		elasticache.DeleteCacheClusterInput{},
		elasticache.CreateSnapshotInput{},
		elasticache.CopySnapshotInput{},
		elasticache.DeleteSnapshotInput{},
		elasticache.DescribeSnapshotsInput{},
		elasticache.CreateCacheSubnetGroupInput{},
		elasticache.ModifyCacheSubnetGroupInput{},
		elasticache.DeleteCacheSubnetGroupInput{},
		elasticache.DescribeCacheSubnetGroupsInput{},
		elasticache.RebootCacheClusterInput{},
		elasticache.CreateCacheParameterGroupInput{},
		elasticache.ModifyCacheParameterGroupInput{},
		elasticache.ResetCacheParameterGroupInput{},
		elasticache.DeleteCacheParameterGroupInput{},
		elasticache.DescribeCacheParameterGroupsInput{},
		elasticache.DescribeCacheParametersInput{},
		elasticache.DescribeEngineDefaultParametersInput{},
		elasticache.CreateUserInput{},
		elasticache.ModifyUserInput{},
		elasticache.DeleteUserInput{},
		elasticache.DescribeUsersInput{},
		elasticache.CreateUserGroupInput{},
		elasticache.ModifyUserGroupInput{},
		elasticache.DeleteUserGroupInput{},
		elasticache.DescribeUserGroupsInput{},
		types.AuthenticationMode{},
		elasticache.DescribeCacheEngineVersionsInput{},
		elasticache.DescribeEventsInput{},
		elasticache.ListAllowedNodeTypeModificationsInput{},
		elasticache.AddTagsToResourceInput{},
		elasticache.RemoveTagsFromResourceInput{},
		elasticache.ListTagsForResourceInput{},
		types.NodeGroupConfiguration{},
	} {
		typ := reflect.TypeOf(in)
		for i := range typ.NumField() {
			if deprecated[typ.Name()] == typ.Field(i).Name {
				continue
			}
			if f := typ.Field(i); f.IsExported() && !read[typ.Name()][f.Name] {
				t.Errorf("%s.%s is never looked at", typ.Name(), f.Name)
			}
		}
	}
}

// selectors finds, for each function's parameter of an SDK type, which of its
// members are read.
func selectors(t *testing.T) map[string]map[string]bool {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]bool{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				readsOf(fn, out)
			}
		}
	}
	return out
}

func readsOf(fn *ast.FuncDecl, out map[string]map[string]bool) {
	typeOf := map[string]string{}
	for _, p := range fn.Type.Params.List {
		star, ok := p.Type.(*ast.StarExpr)
		if !ok {
			continue
		}
		sel, ok := star.X.(*ast.SelectorExpr)
		for _, n := range p.Names {
			if ok {
				typeOf[n.Name] = sel.Sel.Name
			}
		}
	}
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && typeOf[id.Name] != "" {
			if out[typeOf[id.Name]] == nil {
				out[typeOf[id.Name]] = map[string]bool{}
			}
			out[typeOf[id.Name]][sel.Sel.Name] = true
		}
		return true
	})
}
