package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// An object as Go writes it in both encodings.
type example struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	JSON       json.RawMessage `json:"json"`
	Protobuf   string          `json:"protobuf"`
}

// One object of each kind with everything in it, and one with nothing but a name.
func examples(scheme *runtime.Scheme, kinds []schema.GroupVersionKind) []byte {
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].String() < kinds[j].String() })
	kinds = append(kinds, schema.GroupVersionKind{Version: "v1", Kind: "DeleteOptions"})
	var out bytes.Buffer
	var last schema.GroupVersionKind
	for _, gvk := range kinds {
		if gvk == last || len(gvk.Kind) > 4 && gvk.Kind[len(gvk.Kind)-4:] == "List" {
			continue
		}
		last = gvk
		for _, full := range []bool{false, true} {
			object, err := scheme.New(gvk)
			check(err)
			if full {
				filler := filler{root: reflect.TypeOf(object).Elem()}
				filler.fill(reflect.ValueOf(object).Elem())
			} else if named, ok := object.(metav1.Object); ok {
				named.SetName("a")
			}
			object.GetObjectKind().SetGroupVersionKind(gvk)
			line, err := json.Marshal(encode(scheme, gvk, object))
			check(err)
			out.Write(line)
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

func encode(scheme *runtime.Scheme, gvk schema.GroupVersionKind, object runtime.Object) example {
	text, err := json.Marshal(object)
	check(err)
	var raw bytes.Buffer
	check(protobuf.NewSerializer(scheme, scheme).Encode(object, &raw))
	api, kind := gvk.ToAPIVersionAndKind()
	return example{APIVersion: api, Kind: kind, JSON: text, Protobuf: base64.StdEncoding.EncodeToString(raw.Bytes())}
}

// Puts something other than nothing into every field.
type filler struct {
	root    reflect.Type
	above   []reflect.Type
	counter int
}

func (f *filler) next() int {
	f.counter++
	return f.counter
}

func (f *filler) fill(v reflect.Value) {
	moment := time.Date(2026, 11, 21, 7, 40, 53, 0, time.UTC)
	switch value := v.Addr().Interface().(type) {
	case *metav1.TypeMeta:
		return
	case *metav1.Time:
		*value = metav1.NewTime(moment.Add(time.Duration(f.next()) * time.Second))
		return
	case *metav1.MicroTime:
		*value = metav1.NewMicroTime(moment.Add(time.Duration(f.next()) * time.Microsecond))
		return
	case *metav1.Duration:
		*value = metav1.Duration{Duration: time.Duration(f.next()) * 1500 * time.Millisecond}
		return
	case *metav1.FieldsV1:
		value.Raw = []byte(`{"f:data":{}}`)
		return
	case *resource.Quantity:
		*value = resource.MustParse([]string{"1500m", "2Gi", "1", "100e3", "0.5", "-3"}[f.next()%6])
		_ = value.String()
		return
	case *intstr.IntOrString:
		if f.next()%2 == 0 {
			*value = intstr.FromInt32(int32(f.counter))
		} else {
			*value = intstr.FromString("25%")
		}
		return
	case *runtime.RawExtension:
		value.Raw = []byte(`{"apiVersion":"v1","kind":"Any","x":[1,"a"]}`)
		return
	case *apiextensions.JSON:
		value.Raw = []byte(`{"a":[1,null,"x"]}`)
		return
	case *apiextensions.JSONSchemaPropsOrBool:
		value.Allows = true
		if f.deep(reflect.TypeOf(apiextensions.JSONSchemaProps{})) < 1 {
			value.Schema = &apiextensions.JSONSchemaProps{Type: "string"}
		}
		return
	case *apiextensions.JSONSchemaPropsOrArray:
		value.Schema = &apiextensions.JSONSchemaProps{Type: "string"}
		return
	case *apiextensions.JSONSchemaPropsOrStringArray:
		value.Property = []string{"a", "b"}
		return
	case *corev1.PodSpec:
		// A Pod's own example has all of it.
		if f.root != reflect.TypeOf(corev1.Pod{}) {
			*value = corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}, NodeName: "n"}
			return
		}
	}
	f.fillKind(v)
}

// How many values of a type stand around this one.
func (f *filler) deep(t reflect.Type) int {
	count := 0
	for _, above := range f.above {
		if above == t {
			count++
		}
	}
	return count
}

func (f *filler) fillKind(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text%d", f.next()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.next()))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.next()))
	case reflect.Float64:
		v.SetFloat(float64(f.next()) + 0.5)
	case reflect.Pointer:
		if f.deep(v.Type().Elem()) > 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte{0, 255, byte(f.next())})
			return
		}
		if f.deep(v.Type().Elem()) > 0 {
			return
		}
		list := reflect.MakeSlice(v.Type(), 1, 1)
		f.fill(list.Index(0))
		v.Set(list)
	case reflect.Map:
		if f.deep(v.Type().Elem()) > 0 {
			return
		}
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		f.above = append(f.above, v.Type())
		for i := 0; i < v.NumField(); i++ {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i))
			}
		}
		f.above = f.above[:len(f.above)-1]
	}
}
