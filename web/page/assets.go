package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

//go:embed templates
var templateFiles embed.FS

// assets are the style sheet and the scripts of the page. Their URLs have a digest of their bytes, so a browser keeps
// them for good and never shows a page with those of another version.
type assets struct {
	urls  map[string]string // by name
	files map[string]asset  // by URL
}

type asset struct {
	contentType string
	text        []byte
}

func newAssets() (*assets, error) {
	a := &assets{urls: map[string]string{}, files: map[string]asset{}}
	entries, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, fmt.Errorf("read the assets of the page: %w", err)
	}
	for _, e := range entries {
		text, err := fs.ReadFile(assetFiles, "assets/"+e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the assets of the page: %w", err)
		}
		sum := sha256.Sum256(text)
		ext := path.Ext(e.Name())
		url := "/assets/" + strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.urls[e.Name()] = url
		a.files[url] = asset{mime.TypeByExtension(ext), text}
	}
	return a, nil
}

// url returns the URL of an asset. An unknown name fails the rendering of the template that has it.
func (a *assets) url(name string) (string, error) {
	if url := a.urls[name]; url != "" {
		return url, nil
	}
	return "", fmt.Errorf("the page has no asset %q", name)
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := a.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", file.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(file.text) // an error means that the client has gone
}
