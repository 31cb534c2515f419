package main

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	coreinformers "k8s.io/client-go/informers"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
)

// ours selects what the scenarios make: a namespace may hold other objects, too.
const ours = "by=clients"

// change is what a handler was told.
type change struct{ line string }

func handler(seen chan<- change, line func(any) string) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { seen <- change{"added " + line(object)} },
		UpdateFunc: func(_, object any) { seen <- change{"updated " + line(object)} },
		DeleteFunc: func(object any) { seen <- change{"deleted " + line(object)} },
	}
}

func (s *session) expect(seen <-chan change, count int) error {
	for range count {
		select {
		case change := <-seen:
			fmt.Println(change.line)
		case <-s.context.Done():
			return errors.New("an event is missing")
		}
	}
	return nil
}

// informers follows ConfigMaps with a shared informer, which streams its first state in this version.
func informers(s *session) error {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	if _, err := maps.Create(s.context, configMap("first", "1"), metav1.CreateOptions{}); err != nil {
		return err
	}
	factory := coreinformers.NewSharedInformerFactoryWithOptions(s.client, 0,
		coreinformers.WithNamespace(s.namespace),
		coreinformers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = ours }))
	informer := factory.Core().V1().ConfigMaps().Informer()
	seen := make(chan change, 100)
	text := func(object any) string {
		found := object.(*corev1.ConfigMap)
		return fmt.Sprint(found.Name, " ", found.Data, " ", found.DeletionTimestamp != nil)
	}
	if _, err := informer.AddEventHandler(handler(seen, text)); err != nil {
		return err
	}
	factory.Start(s.context.Done())
	if !cache.WaitForCacheSync(s.context.Done(), informer.HasSynced) {
		return errors.New("the informer has not synced")
	}
	if err := s.expect(seen, 1); err != nil {
		return err
	}
	return changes(s, seen)
}

// changes makes each kind of change once and waits for what the informer tells.
func changes(s *session, seen <-chan change) error {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	second := configMap("second", "1")
	second.Finalizers = []string{"ex.io/hold"}
	if _, err := maps.Create(s.context, second, metav1.CreateOptions{}); err != nil {
		return err
	}
	patch := func(name, body string) error {
		_, err := maps.Patch(s.context, name, types.MergePatchType, []byte(body), metav1.PatchOptions{})
		return err
	}
	steps := []func() error{
		func() error { return patch("second", `{"data":{"k":"2"}}`) },
		// Nothing changes, and nobody is told.
		func() error { return patch("second", `{"data":{"k":"2"}}`) },
		func() error { return maps.Delete(s.context, "second", metav1.DeleteOptions{}) },
		func() error { return patch("second", `{"metadata":{"finalizers":null}}`) },
		// Out of the selector's sight, and into it again.
		func() error { return patch("first", `{"metadata":{"labels":{"by":"nobody"}}}`) },
		func() error { return patch("first", `{"metadata":{"labels":{"by":"clients"}}}`) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return s.expect(seen, 6)
}

// metadataInformer follows the same objects by their metadata alone.
func metadataInformer(s *session) error {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	if _, err := maps.Create(s.context, configMap("first", "1"), metav1.CreateOptions{}); err != nil {
		return err
	}
	factory := metadatainformer.NewFilteredSharedInformerFactory(s.metadata, 0, s.namespace,
		func(options *metav1.ListOptions) { options.LabelSelector = ours })
	informer := factory.ForResource(corev1.SchemeGroupVersion.WithResource("configmaps")).Informer()
	seen := make(chan change, 100)
	text := func(object any) string {
		found := object.(*metav1.PartialObjectMetadata)
		return fmt.Sprint(found.Name, " ", found.Labels, " ", found.Kind)
	}
	if _, err := informer.AddEventHandler(handler(seen, text)); err != nil {
		return err
	}
	factory.Start(s.context.Done())
	if !cache.WaitForCacheSync(s.context.Done(), informer.HasSynced) {
		return errors.New("the informer has not synced")
	}
	if err := s.expect(seen, 1); err != nil {
		return err
	}
	return changes(s, seen)
}

// watchList asks for the state as a stream, and goes on.
func watchList(s *session) error {
	maps := s.client.CoreV1().ConfigMaps(s.namespace)
	for _, name := range []string{"a", "b"} {
		if _, err := maps.Create(s.context, configMap(name, ""), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	yes := true
	stream, err := maps.Watch(s.context, metav1.ListOptions{
		LabelSelector: ours, AllowWatchBookmarks: true, SendInitialEvents: &yes,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		return err
	}
	defer stream.Stop()
	for event := range stream.ResultChan() {
		object, ok := event.Object.(*corev1.ConfigMap)
		if !ok {
			return fmt.Errorf("an event with a %T", event.Object)
		}
		end := object.Annotations[metav1.InitialEventsAnnotationKey]
		if event.Type == watch.Bookmark && end == "" {
			continue
		}
		fmt.Println(event.Type, object.Name, end, object.ResourceVersion != "")
		if event.Type == watch.Bookmark {
			if err := maps.Delete(s.context, "a", metav1.DeleteOptions{}); err != nil {
				return err
			}
		}
		if event.Type == watch.Deleted {
			return nil
		}
	}
	return errors.New("the watch ended")
}
