package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaderElection has two candidates for one Lease: the second leads once the first steps down.
func leaderElection(s *session) error {
	led := make(chan string, 10)
	first, cancel := context.WithCancel(s.context)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		candidate(s, first, "first", led)
	}()
	if err := s.next(led, "first leads"); err != nil {
		return err
	}
	go candidate(s, s.context, "second", led)
	// It asks at least once while the first one leads.
	time.Sleep(time.Second)
	cancel()
	<-ended
	for _, line := range []string{"first stops", "second leads"} {
		if err := s.next(led, line); err != nil {
			return err
		}
	}
	lease, err := s.client.CoordinationV1().Leases(s.namespace).Get(s.context, "lock", metav1.GetOptions{})
	if err != nil {
		return err
	}
	fmt.Println("held by", *lease.Spec.HolderIdentity, *lease.Spec.LeaseDurationSeconds, *lease.Spec.LeaseTransitions)
	return nil
}

func (s *session) next(led <-chan string, wanted string) error {
	select {
	case line := <-led:
		fmt.Println(line)
		if line != wanted {
			return fmt.Errorf("expected %q", wanted)
		}
		return nil
	case <-s.context.Done():
		return errors.New("nobody leads")
	}
}

func candidate(s *session, ctx context.Context, name string, led chan<- string) {
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "lock", Namespace: s.namespace},
			Client:     s.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		},
		ReleaseOnCancel: true,
		LeaseDuration:   15 * time.Second,
		RenewDeadline:   10 * time.Second,
		RetryPeriod:     250 * time.Millisecond,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { led <- name + " leads" },
			OnStoppedLeading: func() { led <- name + " stops" },
		},
	})
}
