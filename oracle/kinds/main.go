// Writes what the built-in kinds of Kubernetes are made of: one file of facts for each group-version, and examples in JSON and
// protobuf. `cargo xtask kinds` runs it against a started oracle; README.md of the crate `kinds` says what the lines mean.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
	openapi "k8s.io/kubernetes/pkg/generated/openapi"
)

// The group-versions that the project's own server has kinds of.
var groupVersions = []schema.GroupVersion{
	{Group: "", Version: "v1"},
	{Group: "admissionregistration.k8s.io", Version: "v1"},
	{Group: "apiextensions.k8s.io", Version: "v1"},
	{Group: "apiregistration.k8s.io", Version: "v1"},
	{Group: "apps", Version: "v1"},
	{Group: "authentication.k8s.io", Version: "v1"},
	{Group: "authorization.k8s.io", Version: "v1"},
	{Group: "autoscaling", Version: "v1"},
	{Group: "autoscaling", Version: "v2"},
	{Group: "batch", Version: "v1"},
	{Group: "certificates.k8s.io", Version: "v1"},
	{Group: "coordination.k8s.io", Version: "v1"},
	{Group: "discovery.k8s.io", Version: "v1"},
	{Group: "events.k8s.io", Version: "v1"},
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"},
	{Group: "networking.k8s.io", Version: "v1"},
	{Group: "node.k8s.io", Version: "v1"},
	{Group: "policy", Version: "v1"},
	{Group: "rbac.authorization.k8s.io", Version: "v1"},
	{Group: "scheduling.k8s.io", Version: "v1"},
	{Group: "storage.k8s.io", Version: "v1"},
}

// Types of requests and answers that belong to no group.
var common_ = []any{
	metav1.DeleteOptions{}, metav1.Status{}, metav1.WatchEvent{}, metav1.APIResourceList{}, metav1.APIGroup{},
	metav1.APIGroupList{}, metav1.APIVersions{}, metav1.PartialObjectMetadata{}, metav1.PartialObjectMetadataList{},
}

// Types whose JSON is not that of their Go fields.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                                             "time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                                        "microtime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                                         "fields",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                                         "quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":                                       "intorstring",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                                          "raw",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON":                         "json",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":       "schemaorarray",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":        "schemaorbool",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "schemaorstrings",
}

type file struct {
	header []string
	types  map[string][]string
}

type generator struct {
	scheme      *runtime.Scheme
	definitions map[string]common.OpenAPIDefinition
	files       map[string]*file
	seen        map[reflect.Type]bool
}

func main() {
	server := flag.String("server", "", "URL of a kube-apiserver")
	token := flag.String("token", "", "bearer token")
	ca := flag.String("ca", "", "file with the certificate to trust")
	out := flag.String("out", "", "folder for the facts")
	golden := flag.String("golden", "", "file for the examples")
	flag.Parse()
	log.SetFlags(0)

	scheme := clientscheme.Scheme
	check(apiextensions.AddToScheme(scheme))
	check(apiregistration.AddToScheme(scheme))
	g := &generator{
		scheme:      scheme,
		definitions: openapi.GetOpenAPIDefinitions(func(name string) spec.Ref { return spec.MustCreateRef(name) }),
		files:       map[string]*file{},
		seen:        map[reflect.Type]bool{},
	}
	client := newClient(*ca)
	var roots []schema.GroupVersionKind
	for _, gv := range groupVersions {
		roots = append(roots, g.group(gv, discover(client, *server, *token, gv))...)
	}
	for _, value := range common_ {
		g.typeOf(reflect.TypeOf(value))
	}
	check(os.MkdirAll(*out, 0o755))
	for name, f := range g.files {
		check(os.WriteFile(filepath.Join(*out, name+".txt"), f.bytes(), 0o644))
	}
	check(os.WriteFile(*golden, examples(scheme, roots), 0o644))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func newClient(ca string) *http.Client {
	pem, err := os.ReadFile(ca)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

func discover(client *http.Client, server, token string, gv schema.GroupVersion) *metav1.APIResourceList {
	path := "/apis/" + gv.String()
	if gv.Group == "" {
		path = "/api/" + gv.Version
	}
	request, err := http.NewRequest(http.MethodGet, server+path, nil)
	check(err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err)
	list := &metav1.APIResourceList{}
	check(json.Unmarshal(body, list))
	if len(list.APIResources) == 0 {
		log.Fatalf("%s: no resources", path)
	}
	return list
}

// Writes the kinds of a group-version, and the types that they are made of.
func (g *generator) group(gv schema.GroupVersion, list *metav1.APIResourceList) []schema.GroupVersionKind {
	var roots []schema.GroupVersionKind
	var lines []string
	sort.Slice(list.APIResources, func(i, j int) bool { return list.APIResources[i].Name < list.APIResources[j].Name })
	var alias string
	for _, resource := range list.APIResources {
		gvk := gv.WithKind(resource.Kind)
		if resource.Group != "" || resource.Version != "" {
			gvk = schema.GroupVersionKind{Group: resource.Group, Version: resource.Version, Kind: resource.Kind}
		}
		verbs := strings.Join(resource.Verbs, ",")
		if strings.Contains(resource.Name, "/") {
			named := gvk.Kind
			if gvk.GroupVersion() != gv {
				named = gvk.GroupVersion().String() + "/" + gvk.Kind
			}
			lines = append(lines, fmt.Sprintf("sub %s %s %s", resource.Name, named, verbs))
		} else {
			scope := "Cluster"
			if resource.Namespaced {
				scope = "Namespaced"
			}
			line := fmt.Sprintf("kind %s %s %s %s %s", resource.Name, resource.Kind, resource.SingularName, scope, verbs)
			if len(resource.ShortNames) > 0 {
				line += " short=" + strings.Join(resource.ShortNames, ",")
			}
			if len(resource.Categories) > 0 {
				line += " categories=" + strings.Join(resource.Categories, ",")
			}
			lines = append(lines, line)
		}
		for _, gvk := range []schema.GroupVersionKind{gvk, gvk.GroupVersion().WithKind(gvk.Kind + "List")} {
			made, err := g.scheme.New(gvk)
			if err != nil {
				continue
			}
			t := reflect.TypeOf(made).Elem()
			name := g.typeOf(t)
			if gvk == gv.WithKind(resource.Kind) {
				alias, _ = split(name)
			}
			if !strings.HasSuffix(gvk.Kind, "Options") {
				roots = append(roots, gvk)
			}
		}
	}
	f := g.file(alias)
	f.header = append(f.header, "group "+gv.String())
	f.header = append(f.header, lines...)
	return roots
}

// The name of a type: `apps/v1.Deployment`. Its facts, and those of what it holds, are written.
func (g *generator) typeOf(t reflect.Type) string {
	model := modelName(t)
	alias := aliasOf(model)
	if g.seen[t] {
		return alias
	}
	g.seen[t] = true
	definition, ok := g.definitions[model]
	if !ok {
		log.Fatalf("%s: no OpenAPI definition", model)
	}
	place, name := split(alias)
	f := g.file(place)
	if len(f.header) == 0 {
		f.header = []string{"package " + strings.TrimSuffix(model, "."+name)}
	}
	header := "type " + name
	if mapType, ok := definition.Schema.Extensions["x-kubernetes-map-type"]; ok {
		header += fmt.Sprintf(" map=%v", mapType)
	}
	lines := []string{header}
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		if line := g.field(field, definition.Schema, place); line != "" {
			lines = append(lines, " "+line)
		}
	}
	sort.Strings(lines[1:])
	f.types[name] = lines
	return alias
}

func (g *generator) field(field reflect.StructField, in spec.Schema, place string) string {
	tag := field.Tag.Get("json")
	name, options, _ := strings.Cut(tag, ",")
	if tag == "-" || (tag == "" && !field.Anonymous) {
		return ""
	}
	number := "0"
	if parts := strings.Split(field.Tag.Get("protobuf"), ","); len(parts) > 1 {
		number = parts[1]
	}
	optional := strings.Contains(options, "omitempty")
	if name == "" {
		return "+ " + number + " " + g.shape(field.Type, place)
	}
	t := field.Type
	words := []string{name, number, ""}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
		words = append(words, "pointer")
	}
	words[2] = g.shape(t, place)
	if optional {
		words = append(words, "omitempty")
	}
	if strings.Contains(options, "omitzero") {
		words = append(words, "omitzero")
	}
	for _, required := range in.Required {
		if required == name {
			words = append(words, "required")
		}
	}
	words = append(words, facts(in.Properties[name])...)
	for _, key := range []string{"patchStrategy", "patchMergeKey"} {
		if value := field.Tag.Get(key); value != "" {
			words = append(words, key+"="+value)
		}
	}
	return strings.Join(words, " ")
}

// What the OpenAPI definition says about a field beyond its type.
func facts(property spec.Schema) []string {
	var words []string
	for _, key := range []string{"list-type", "map-type"} {
		if value, ok := property.Extensions["x-kubernetes-"+key]; ok {
			words = append(words, fmt.Sprintf("%s=%v", strings.TrimSuffix(key, "-type"), value))
		}
	}
	if keys, ok := property.Extensions["x-kubernetes-list-map-keys"]; ok {
		words = append(words, "keys="+strings.Trim(strings.ReplaceAll(fmt.Sprint(keys), " ", ","), "[]"))
	}
	inner := property
	for {
		if inner.Items != nil && inner.Items.Schema != nil {
			inner = *inner.Items.Schema
		} else if inner.AdditionalProperties != nil && inner.AdditionalProperties.Schema != nil {
			inner = *inner.AdditionalProperties.Schema
		} else {
			break
		}
	}
	if len(inner.Enum) > 0 {
		var values []string
		for _, value := range inner.Enum {
			values = append(values, fmt.Sprint(value))
		}
		sort.Strings(values)
		words = append(words, "enum="+strings.Join(values, "|"))
	}
	if inner.Format != "" && inner.Format != "int32" && inner.Format != "int64" && inner.Format != "byte" && inner.Format != "double" {
		words = append(words, "format="+inner.Format)
	}
	if property.Default != nil {
		value, err := json.Marshal(property.Default)
		check(err)
		words = append(words, "default="+string(value))
	}
	return words
}

// The shape of a value: a word for a scalar, `@NAME` for another type, `[]` and `{}` before what lists and maps hold, `[*]` for a
// list that is a message of its own in protobuf.
func (g *generator) shape(t reflect.Type, place string) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if word, ok := special[t.PkgPath()+"."+t.Name()]; ok {
		if strings.HasPrefix(word, "schemaor") {
			g.typeOf(reflect.TypeOf(apiextensions.JSONSchemaProps{}))
		}
		return word
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int64:
		return "int64"
	case reflect.Int32:
		return "int32"
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return "int64"
	case reflect.Float64:
		return "float64"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		if _, ok := reflect.PointerTo(t).MethodByName("Marshal"); ok {
			return "[*]" + g.shape(t.Elem(), place)
		}
		return "[]" + g.shape(t.Elem(), place)
	case reflect.Map:
		return "{}" + g.shape(t.Elem(), place)
	case reflect.Struct:
		name := g.typeOf(t)
		if at, short := split(name); at == place {
			return "@" + short
		}
		return "@" + name
	case reflect.Interface:
		return "raw"
	}
	log.Fatalf("%v: no shape for it", t)
	return ""
}

func modelName(t reflect.Type) string {
	if named, ok := reflect.New(t).Elem().Interface().(interface{ OpenAPIModelName() string }); ok {
		return named.OpenAPIModelName()
	}
	log.Fatalf("%v: no model name", t)
	return ""
}

// `io.k8s.api.apps.v1.Deployment` is `apps/v1.Deployment`.
func aliasOf(model string) string {
	parts := strings.Split(model, ".")
	n := len(parts)
	return parts[n-3] + "/" + parts[n-2] + "." + parts[n-1]
}

func split(alias string) (string, string) {
	at := strings.LastIndex(alias, ".")
	return alias[:at], alias[at+1:]
}

func (g *generator) file(place string) *file {
	name := strings.ReplaceAll(place, "/", ".")
	if g.files[name] == nil {
		g.files[name] = &file{types: map[string][]string{}}
	}
	return g.files[name]
}

func (f *file) bytes() []byte {
	var out bytes.Buffer
	for _, line := range f.header {
		fmt.Fprintln(&out, line)
	}
	var names []string
	for name := range f.types {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, line := range f.types[name] {
			fmt.Fprintln(&out, line)
		}
	}
	return out.Bytes()
}
