package auth

import (
	"fmt"
	"testing"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/secret"
)

// Sign-ins one after the other share a connection.
func TestSignInsShareAConnection(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	s := w.sessions(Options{})
	const n = 200
	for i := range n {
		k := w.home.AddUser(fmt.Sprintf("user-%d", i)).NewKey()
		w.open(s, w.ak(func(a *config.Account) { a.AKID, a.AKSecret = k.ID, secret.New(k.Secret) }))
	}
	st := w.aws.Stats()
	if st.Connections > 3 || st.Calls != n {
		t.Errorf("%d sign-ins took %d calls over %d connections", n, st.Calls, st.Connections)
	}
}
