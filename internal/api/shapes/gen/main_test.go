package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// generate renders the tables without writing them.
func generate(t *testing.T) string {
	t.Helper()
	var models []*model
	for _, svc := range services {
		dir, err := moduleDir(sdk + svc.name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := read(svc, dir)
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, m)
	}
	src, err := render(models)
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

func TestTheCommittedTablesAreCurrent(t *testing.T) {
	committed, err := os.ReadFile(filepath.Join("..", output))
	if err != nil {
		t.Fatal(err)
	}
	src := generate(t)
	if src != string(committed) {
		t.Error("zz_generated.go is not what the SDK in go.mod gives; run: go generate ./internal/api/shapes")
	}
	if src != generate(t) {
		t.Error("two runs of the generator differ")
	}
	dir, err := moduleDir(sdk + "elasticache")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(src, filepath.Dir(dir)) {
		t.Error("the output names the place of the module cache")
	}
}

// write makes a small SDK module of the given files in a new directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "types"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, src := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func smallSDK() map[string]string {
	return map[string]string{
		"api_op_DoIt.go": "package x\ntype DoItInput struct{}\ntype DoItOutput struct{}\n",
		"serializers.go": `package x
func (m *awsAwsquery_serializeOpDoIt) HandleSerialize() {
	body.Key("Action").String("DoIt")
	body.Key("Version").String("2020-01-01")
}
func awsAwsquery_serializeDocumentThings(v []string, value query.Value) error {
	array := value.Array("Thing")
	_ = array
}
func awsAwsquery_serializeOpDocumentDoItInput(v *DoItInput, value query.Value) error {
	if v.Things != nil {
		objectKey := object.Key("Things")
		if err := awsAwsquery_serializeDocumentThings(v.Things, objectKey); err != nil { return err }
	}
	return nil
}
`,
		"deserializers.go": "package x\n",
		"validators.go":    "package x\nfunc validate(v *DoItInput) { invalid.Add(smithy.NewErrParamRequired(\"Things\")) }\n",
		"types/errors.go":  "package types\nfunc (e *Gone) ErrorCode() string { return \"GoneFault\" }\n",
	}
}

func TestReadsASmallSDK(t *testing.T) {
	m, err := read(service{name: "x", status: map[int][]string{404: {"GoneFault"}}}, write(t, smallSDK()))
	if err != nil {
		t.Fatal(err)
	}
	if m.version != "2020-01-01" || m.actions["DoIt"] == nil || m.items["DoItInput.Things"] != "Thing" ||
		len(m.required["DoItInput"]) != 1 || m.codes["GoneFault"] != 404 {
		t.Errorf("read %+v", m)
	}
}

// TestRefusesWhatIsNotModelled changes the small SDK into ones the codec could
// not speak.
func TestRefusesWhatIsNotModelled(t *testing.T) {
	for _, c := range []struct{ name, file, old, new, want string }{
		{"flattened list", "serializers.go", `value.Array("Thing")`, `value.Array("Thing"); value.FlatArray()`, "FlatArray"},
		{"two versions", "serializers.go", `func awsAwsquery_serializeDocumentThings`, "func (m *awsAwsquery_serializeOpB) HandleSerialize() {\n\tbody.Key(\"Action\").String(\"B\")\n\tbody.Key(\"Version\").String(\"2\")\n}\nfunc awsAwsquery_serializeDocumentThings", "version"},
		{"action sent under another name", "serializers.go", `String("DoIt")`, `String("DoThat")`, "DoThat"},
		{"no output struct", "api_op_DoIt.go", "type DoItOutput struct{}", "", "lacks"},
		{"status of an unknown code", "types/errors.go", "GoneFault", "Left", "GoneFault"},
		{"item name not constant", "serializers.go", `value.Array("Thing")`, "value.Array(name)", "constant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := smallSDK()
			changed := strings.Replace(files[c.file], c.old, c.new, 1)
			if changed == files[c.file] {
				t.Fatal("nothing changed")
			}
			files[c.file] = changed
			_, err := read(service{name: "x", status: map[int][]string{404: {"GoneFault"}}}, write(t, files))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something about %s", err, c.want)
			}
		})
	}
}
