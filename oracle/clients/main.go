// Programs of client-go against a Kubernetes API server. Each scenario prints what it saw, a line for each thing, without
// anything that differs by nature (times, uids, revisions): two servers behave alike when the lines are the same.
//
//	clients -kubeconfig FILE -namespace NAME [-protobuf] SCENARIO
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// session is what a scenario works with.
type session struct {
	context   context.Context
	config    *rest.Config
	client    kubernetes.Interface
	metadata  metadata.Interface
	namespace string
}

var scenarios = map[string]func(*session) error{
	"informers": informers,
	"leader":    leaderElection,
	"metadata":  metadataInformer,
	"objects":   objects,
	"watchlist": watchList,
}

// patience bounds each scenario.
const patience = 60 * time.Second

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the server")
	namespace := flag.String("namespace", "default", "an empty namespace for the scenario")
	protobuf := flag.Bool("protobuf", false, "send and take protobuf where the types allow it")
	flag.Parse()
	if err := run(*kubeconfig, *namespace, *protobuf, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, namespace string, protobuf bool, name string) error {
	scenario, known := scenarios[name]
	if !known {
		return fmt.Errorf("there is no scenario %q", name)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	config.ContentType = "application/json"
	if protobuf {
		config.ContentType = "application/vnd.kubernetes.protobuf"
		config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return scenario(&session{ctx, config, client, meta, namespace})
}

// objects plays the verbs with typed values.
func objects(s *session) error {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	made, err := maps.Create(s.context, configMap("a", "1"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	fmt.Println("created", made.Name, made.Data, made.UID != "", made.ResourceVersion != "")
	_, err = maps.Create(s.context, configMap("a", "2"), metav1.CreateOptions{})
	fmt.Println("again:", apierrors.ReasonForError(err))
	stale := made.DeepCopy()
	made.Data["k"] = "2"
	if made, err = maps.Update(s.context, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	fmt.Println("updated", made.Data)
	_, err = maps.Update(s.context, stale, metav1.UpdateOptions{})
	fmt.Println("stale:", apierrors.ReasonForError(err))
	_, err = maps.Create(s.context, configMap("Bad_Name", ""), metav1.CreateOptions{})
	fmt.Println("bad name:", apierrors.ReasonForError(err))
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"p": "x"}}
	kept, err := s.client.CoreV1().Secrets(s.namespace).Create(s.context, secret, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	fmt.Println("secret", kept.Type, string(kept.Data["p"]), kept.StringData)
	err = maps.Delete(s.context, "a", *metav1.NewPreconditionDeleteOptions("00000000-0000-0000-0000-000000000000"))
	fmt.Println("wrong uid:", apierrors.ReasonForError(err))
	if err = maps.Delete(s.context, "a", *metav1.NewPreconditionDeleteOptions(string(made.UID))); err != nil {
		return err
	}
	_, err = maps.Get(s.context, "a", metav1.GetOptions{})
	fmt.Println("gone:", apierrors.ReasonForError(err))
	for _, name := range []string{"c", "b", "d"} {
		if _, err = maps.Create(s.context, configMap(name, ""), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return pages(s)
}

// pages lists two objects at a time.
func pages(s *session) error {
	options := metav1.ListOptions{Limit: 2, LabelSelector: ""}
	for {
		page, err := s.client.CoreV1().ConfigMaps(s.namespace).List(s.context, options)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if item.Name != "kube-root-ca.crt" {
				fmt.Println("item", item.Name)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return s.client.CoreV1().ConfigMaps(s.namespace).DeleteCollection(
				s.context, metav1.DeleteOptions{}, metav1.ListOptions{})
		}
	}
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"by": "clients"}},
		Data:       map[string]string{"k": value},
	}
}
