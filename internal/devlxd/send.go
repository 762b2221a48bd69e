package devlxd

import (
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"time"

	"lxd/internal/image"
)

// send answers with the files of an image: one with ranges, or two as parts of a form.
func send(w http.ResponseWriter, r *http.Request, parts []image.Part) {
	if len(parts) == 1 {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "inline;filename="+parts[0].Filename)
		http.ServeContent(w, r, "", time.Time{}, parts[0].File)
		return
	}
	form := multipart.NewWriter(w)
	w.Header().Set("Content-Type", form.FormDataContentType())
	for _, p := range parts {
		out, err := form.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name="` + p.Name + `"; filename="` + p.Filename + `"`},
			"Content-Type":        {"application/octet-stream"},
		})
		if err == nil {
			_, err = io.Copy(out, p.File)
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the guest must not take the part for the whole
		}
	}
	_ = form.Close() // a guest that went away needs no end
}
